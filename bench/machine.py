"""What the figures were measured on and with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("uvloop", "sqlglot", "msgspec")


def describe() -> list[tuple[str, str]]:
    """(what, value) pairs."""
    return [
        ("Commit", _commit()),
        ("Processor", f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores, shared by clients, proxies and servers"),
        ("Memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / (1 << 30):.0f} GiB"),
        ("System", f"Linux {platform.release()}, {platform.freedesktop_os_release().get('PRETTY_NAME', 'unknown')}"),
        ("MariaDB", _version(["mariadbd", "--version"], r"Ver (\S+)")),
        ("HAProxy", _version(["haproxy", "-v"], r"version (\S+)") + ", 1 thread, TCP mode"),
        ("memcached", _version(["memcached", "--version"], r"memcached (\S+)")),
        ("sysbench", _version(["sysbench", "--version"], r"sysbench (\S+)")),
        (
            "Python",
            f"{platform.python_version()}, {', '.join(f'{p} {importlib.metadata.version(p)}' for p in PACKAGES)}",
        ),
    ]


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return "not a git checkout"
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "proxy", "parser", "bench")
    return f"{commit} with changes" if changed else commit


def _cpu_model() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _version(argv: list[str], pattern: str) -> str:
    output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    found = re.search(pattern, output)
    return found[1] if found else output.strip()
