#!/bin/bash
# Makes this checkout ready to use: Debian's packages for the servers, and .venv from requirements.lock.
#
#   scripts/setup.sh             what the demo, the checks and the benchmarks need
#   scripts/setup.sh --clients   also other languages with their MySQL drivers, and Chromium, for tests (which skip what is missing)
#
# As root it installs the packages that are missing; otherwise it says which. Nothing is upgraded, and no service is
# started, stopped or restarted: the servers that we use are started by us, on free ports, in temporary folders.
# Does nothing when nothing has changed. PYTHON=/path/to/python3 chooses the Python that .venv is made from.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }

clients=no
if [ "${1:-}" = --clients ]; then clients=yes; fi

if [ -n "${PYTHON:-}" ]; then
    python=$PYTHON
elif [ -x /usr/bin/python3 ]; then
    python=/usr/bin/python3
else
    python=python3
fi

# Debian package for each thing that is missing. Headers and compiler are for mysqlclient, which has no wheels.
missing_packages() {
    have mariadbd || echo mariadb-server
    have mariadb || echo mariadb-client
    have memcached || echo memcached
    have sysbench || echo sysbench
    have haproxy || echo haproxy
    have gcc || echo gcc
    have pkg-config || echo pkg-config
    pkg-config --exists libmariadb 2>/dev/null || pkg-config --exists mariadb 2>/dev/null || echo libmariadb-dev
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    "$python" - <<'PY' 2>/dev/null || echo python3-dev
import pathlib, sysconfig
assert (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists()
PY
}

missing_client_packages() {
    have go || echo golang
    have node || echo nodejs
    have npm || echo npm
    have javac || echo default-jdk-headless
    have mvn || echo maven
    php -r "exit(extension_loaded('mysqli') ? 0 : 1);" 2>/dev/null || echo php-cli php-mysql
    perl -MDBD::mysql -e 1 2>/dev/null || echo libdbd-mysql-perl
    perl -MDBD::MariaDB -e 1 2>/dev/null || echo libdbd-mariadb-perl
    ruby -rmysql2 -e 0 2>/dev/null || echo ruby-mysql2
    have mydumper || echo mydumper
    have pt-query-digest || echo percona-toolkit
    have chromium || echo chromium
}

policy=/usr/sbin/policy-rc.d
policy_is_ours=no
remove_policy() { if [ "$policy_is_ours" = yes ]; then rm -f "$policy"; fi; }
trap remove_policy EXIT

# Installs without starting any service: invoke-rc.d asks policy-rc.d, and 101 means "not allowed".
install_packages() {
    say "installing Debian packages: $*"
    if [ ! -e "$policy" ]; then
        policy_is_ours=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    local log
    log=$(mktemp)
    if ! { apt-get update && apt-get install -y --no-install-recommends --no-upgrade "$@"; } >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        say "apt-get failed; its whole output is in $log"
        return 1
    fi
    rm -f "$log"
    remove_policy
    policy_is_ours=no
}

mapfile -t missing < <(missing_packages)
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" != 0 ] || ! have apt-get; then
        say "missing: ${missing[*]}"
        say "as root: apt-get install --no-install-recommends ${missing[*]}"
        exit 1
    fi
    install_packages "${missing[@]}"
fi

if [ "$clients" = yes ]; then
    read -ra missing <<<"$(missing_client_packages | tr '\n' ' ')"
    if [ ${#missing[@]} -gt 0 ]; then
        if [ "$(id -u)" != 0 ] || ! have apt-get; then
            say "tests with other languages' drivers, or a browser, will be skipped; for them, as root: apt-get install ${missing[*]}"
        elif ! install_packages "${missing[@]}"; then
            for package in "${missing[@]}"; do  # what can be had
                install_packages "$package" || say "tests that need $package will be skipped"
            done
        fi
    fi
fi

# .venv, when the lock file, the project's metadata, its Python or its place differ from those of the last time.
stamp=.venv/turnout-setup
wanted() { { cat requirements.lock pyproject.toml scripts/setup.sh; .venv/bin/python -V; pwd; } 2>/dev/null | sha256sum; }
new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
if ! [ -e "$stamp" ] || [ "$(cat "$stamp")" != "$(wanted)" ]; then
    if ! .venv/bin/python -c "$new_enough" 2>/dev/null; then
        "$python" -c "$new_enough" || { say "Python 3.11 or later is needed; PYTHON=... chooses another"; exit 1; }
        say "making .venv with $("$python" -V)"
        "$python" -m venv --clear .venv
    fi
    say "installing requirements.lock"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
    # `compat`: by a path to the checkout, so that the library of what is compiled, which is in no package, is found too.
    TURNOUT_PURE=1 .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
        --config-settings editable_mode=compat --editable .
    .venv/bin/python -m pip check --quiet --disable-pip-version-check >&2
    wanted >"$stamp"
    say "done"
fi

# What is compiled (setup.py) when any source differs from those that were compiled last. With TURNOUT_PURE set, what is
# compiled stays as it is, and nothing uses it.
stamp=.venv/turnout-compiled
sources() {
    { cat setup.py pyproject.toml requirements.lock; find parser proxy -name '*.py' -print0 | sort -z | xargs -0 cat; } | sha256sum
    compiled -print | wc -l
}
compiled() { find . \( -path ./.venv -o -path ./build -o -path ./node_modules \) -prune -o -name '*.so' "$@"; }
if [ -z "${TURNOUT_PURE:-}" ]; then
    if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$(sources)" ]; then
        compiled -exec touch {} +  # the sources are the same, whenever they were written
    else
        say "compiling what runs for each statement (about a minute)"
        compiled -print0 | xargs -0 rm -f
        rm -rf build
        log=$(mktemp)
        if ! .venv/bin/python setup.py -q build_ext --inplace >"$log" 2>&1 || [ -z "$(compiled -print -quit)" ]; then
            tail -n 30 "$log" >&2
            say "it could not be compiled; the whole output is in $log; TURNOUT_PURE=1 does without"
            exit 1
        fi
        rm -rf "$log" build
        sources >"$stamp"
    fi
fi

# The drivers of node, Go and Java, and what is built with them.
if [ "$clients" = yes ]; then .venv/bin/python -m tests.clients.programs; fi
