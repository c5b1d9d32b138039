"""MySQL Connector/Python with its C extension, as a program of its own: work comes in as JSON, what was seen goes out.

The extension brings an OpenSSL that is newer than many systems'. It has to be loaded before Python's `ssl` loads the
system's, or the connector quietly goes without its extension; so this cannot be part of a process of tests.
"""

from __future__ import annotations

import _mysql_connector  # noqa: F401  isort: skip
import json
import sys

import mysql.connector

from tests.clients.drivers import Connector
from tests.clients.target import Target


def main() -> None:
    if not mysql.connector.HAVE_CEXT:
        sys.exit("mysql.connector does without its C extension")
    work = json.load(sys.stdin)
    driver = Connector(pure=False)
    target = Target.of_json(work["target"])
    if work["action"] == "play":
        seen = driver.play(target, Target.of_json(work["other"]))
    else:
        seen = driver.log_in(target)
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
