"""Which Turnout this is."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Of the installed distribution; a checkout that is only on the path has none."""
    try:
        return metadata.version("turnout")
    except metadata.PackageNotFoundError:
        return "unreleased"
