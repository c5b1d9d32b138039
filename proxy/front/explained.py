"""EXPLAIN of a statement for several targets: what each of them says, with its name in a last column.

Of a read on the workbench, what each cluster says of the pulls from it."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.errors import ServerFailed
from proxy.front.environment import Entry
from proxy.front.merge import comparable
from proxy.front.reading import Reading
from proxy.front.row_streams import Splitter, other_columns, server_error
from proxy.front.session import Session
from proxy.front.statements import obtain, record
from proxy.plan.around_workbench import Explanation
from proxy.plan.plan import Send
from proxy.wire.column import encode_column, parse_column, text_column
from proxy.wire.frames import encode, next_sequence
from proxy.wire.lenenc import write_bytes, write_int
from proxy.wire.packets import encode_eof

COLUMN = "cluster"


class Explained(Reading):
    """The rows of several servers one after the other, each with the cluster that it is of."""

    async def run(self) -> None:
        head: list[object] = []
        for (send, _), stream in zip(self.pairs, self.streams):
            splitter = Splitter(payloads=True)
            while data := await stream.more():
                splitter.feed(data)
                if splitter.error is not None:
                    self.fail_with(splitter.error)
                    return
            if not splitter.ended:
                raise ServerFailed(f"cluster {send.cluster} ended its answer early")
            definitions = [packet[4:] for packet in splitter.head_packets[1:-1]]
            columns = [comparable(parse_column(definition)) for definition in definitions]
            if not head:
                head = list(columns)
                self._begin(definitions)
            elif columns != head:
                raise other_columns(send.cluster, self.pairs[0][0].cluster)
            name = write_bytes(send.cluster.encode())
            self.write_packets([encode(row + name, 0) for row in splitter.rows])
            self.rows += len(splitter.rows)
            await self.drained()
        await self.end(self.rows)

    def _begin(self, definitions: list[bytes]) -> None:
        self.started = True
        self.write_packets([encode(packet, 0) for packet in _head(definitions, self.session)])


def _head(definitions: Sequence[bytes], session: Session) -> list[bytes]:
    last = encode_column(text_column(COLUMN))
    return [write_int(len(definitions) + 1), *definitions, last, encode_eof(0, session.status)]


async def explain_pulls(session: Session, entry: Entry, explanation: Explanation) -> None:
    """Have the pulls of a workbench read explained by their clusters, one after the other. Raises TurnoutError."""
    from proxy.front.workbench import pull_text

    charset = session.lexer.charset
    packets: list[bytes] = []
    head: list[object] = []
    for each in explanation.pulls:
        for cluster in each.clusters:
            connection, fresh = await obtain(session, entry, Send(cluster), False)
            try:
                text = explanation.words + b" " + await pull_text(connection, each, charset)
                answer = await connection.command(b"\x03" + text)
                splitter = Splitter(payloads=True)
                splitter.feed(answer)
                if splitter.error is not None:
                    raise server_error(splitter.error)
            finally:
                if fresh:
                    session.give_back(connection)
            definitions = [packet[4:] for packet in splitter.head_packets[1:-1]]
            columns = [comparable(parse_column(definition)) for definition in definitions]
            if not packets:
                head = list(columns)
                packets = _head(definitions, session)
            elif columns != head:
                raise other_columns(cluster, explanation.pulls[0].clusters[0])
            name = write_bytes(cluster.encode())
            packets += [row + name for row in splitter.rows]
    rows = len(packets) - len(head) - 3
    packets.append(encode_eof(0, session.status))
    frames, sequence = [], (session.client.sequence + 1) & 0xFF
    for packet in packets:
        frames.append(encode(packet, sequence))
        sequence = next_sequence(len(packet), sequence)
    session.client.write(b"".join(frames))
    session.found_rows, session.row_count = rows, -1
    session.diagnostics, session.warning_count = None, 0
    record(session, entry, rows, sum(map(len, frames)))
