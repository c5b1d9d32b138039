#!/bin/bash
# Writes the lock files from pyproject.toml: every package with exact version and hashes.
#
#   requirements.lock            all extras: what .venv is made from
#   deploy/requirements.lock     without extras: what the container runs, the same versions
#   deploy/build.lock            that, and what compiles the hot modules
#
# Versions that are locked already stay; `scripts/lock.sh --upgrade` takes the newest. Works in an environment of its
# own, so that the tool is none of our dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."

tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
python3=${PYTHON:-.venv/bin/python}
"$python3" -m venv "$tool/venv"
"$tool/venv/bin/python" -m pip install --quiet --disable-pip-version-check pip-tools

compile() {
    CUSTOM_COMPILE_COMMAND="make lock" "$tool/venv/bin/pip-compile" --quiet --generate-hashes --allow-unsafe \
        --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options "$@" pyproject.toml
}

compile "${1:---no-upgrade}" --extra dev --extra build --extra clients --output-file requirements.lock
compile --constraint requirements.lock --output-file deploy/requirements.lock
compile --constraint requirements.lock --extra build --output-file deploy/build.lock
