"""How large random and long tests are: small by default, so that `make test` takes minutes, and larger in CI.

`TURNOUT_THOROUGH=1` (which `.ci/run` sets) takes the larger sizes, and the tests that are marked `thorough`; a variable
of its own sets each size.

What is random in them is the same in every run, so that what fails is what was changed; only the differential test is
another one each time. To look for what nobody knows of yet, `TURNOUT_SEED=random` draws a new seed, which every failure
names, and `TURNOUT_SEED=<seed>` repeats it.
"""

from __future__ import annotations

import os
import random

THOROUGH = os.environ.get("TURNOUT_THOROUGH", "") not in ("", "0")


def size(name: str, small: int, large: int) -> int:
    """The value of the environment variable `name`; without it `small`, or `large` where tests are to be thorough."""
    return int(os.environ.get(name) or (large if THOROUGH else small))


def seed(usual: str = "1") -> int:
    """For the random numbers of a test module, from TURNOUT_SEED: a number, or `random` for a new one."""
    wanted = os.environ.get("TURNOUT_SEED") or usual
    return random.SystemRandom().randrange(1 << 32) if wanted == "random" else int(wanted)
