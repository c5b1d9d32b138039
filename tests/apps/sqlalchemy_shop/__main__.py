"""See the package."""

from __future__ import annotations

import sys

from tests.apps.sqlalchemy_shop.business import play

if __name__ == "__main__":
    play(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
