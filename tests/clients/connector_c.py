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
from tests.clients.jobs import Job, in_process


def main() -> None:
    if not mysql.connector.HAVE_CEXT:
        sys.exit("mysql.connector does without its C extension")
    driver = Connector(pure=False)
    jobs = [Job.of_json(job) for job in json.load(sys.stdin)["jobs"]]
    json.dump(in_process(driver.carry_out)(jobs), sys.stdout)


if __name__ == "__main__":
    main()
