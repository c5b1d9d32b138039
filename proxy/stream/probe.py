"""What is visible on a primary: a position of its log up to which every transaction can be seen by a SELECT sent now.

The end of the log is no such position: a transaction is written there before its rows can be seen. MariaDB says for a
consistent snapshot which position it belongs to (`binlog_snapshot_file` and `_position`: exactly the transactions up to
there are in it). MySQL has nothing that is as cheap and as exact, so its sources are not followed (docs/CACHE.md).
"""

from __future__ import annotations

import asyncio

from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed
from proxy.stream.source import Place
from proxy.wire.packets import parse_err
from proxy.wire.resultset import ResultsetReader

_SNAPSHOT = b"\x03START TRANSACTION WITH CONSISTENT SNAPSHOT"
_POSITION = b"\x03SHOW STATUS LIKE 'binlog\\_snapshot\\_%'"
_COMMIT = b"\x03COMMIT"


async def visible(connection: ServerConnection) -> Place:
    """A place in the log that is visible. Three statements in one round trip. Raises ServerFailed."""
    responses = await asyncio.gather(*(connection.command(payload) for payload in (_SNAPSHOT, _POSITION, _COMMIT)))
    for response in responses:
        if response[4:5] == b"\xff":
            error = parse_err(response[4:])
            raise ServerFailed(f"{connection.where}: {error.errno} {error.message.decode('utf-8', 'replace')}")
    reader = ResultsetReader()
    pos, data = 0, responses[1]
    while pos < len(data):
        n = int.from_bytes(data[pos : pos + 3], "little")
        reader.feed(data[pos + 4 : pos + 4 + n])
        pos += 4 + n
    found = {(row[0] or b"").lower(): row[1] or b"" for row in reader.rows}
    file, offset = found.get(b"binlog_snapshot_file", b""), found.get(b"binlog_snapshot_position", b"")
    if not file or not offset.isdigit():
        raise ServerFailed(f"{connection.where} does not say which position of its log a snapshot belongs to")
    return Place(file.decode(), int(offset))
