"""How large random and long tests are: small by default, so that `make test` takes minutes, and larger in CI.

`TURNOUT_THOROUGH=1` (which `.ci/run` sets) takes the larger sizes, and the tests that are marked `thorough`; a variable
of its own sets each size.
"""

from __future__ import annotations

import os

THOROUGH = os.environ.get("TURNOUT_THOROUGH", "") not in ("", "0")


def size(name: str, small: int, large: int) -> int:
    """The value of the environment variable `name`; without it `small`, or `large` where tests are to be thorough."""
    return int(os.environ.get(name) or (large if THOROUGH else small))
