"""In this process Turnout is not compiled: tests replace its parts, and give it stand-ins. To be imported before it.

What tests start (servers, commands, benchmarks) is compiled, as it is for users.
"""

import os

from parser.from_source import outdated, take_source

if not os.environ.get("TURNOUT_TESTS_COMPILED"):  # tests/test_compiled.py
    take_source()
changed = outdated()
if changed:
    raise SystemExit(f"{', '.join(changed)}: changed since they were compiled: make setup, or TURNOUT_PURE=1")
