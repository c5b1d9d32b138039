"""EXPLAIN of a statement for several targets: what each of them says, with its name in a last column."""

from __future__ import annotations

from proxy.errors import ServerFailed
from proxy.front.merge import comparable
from proxy.front.reading import Reading
from proxy.front.row_streams import Splitter, other_columns
from proxy.wire.column import encode_column, parse_column, text_column
from proxy.wire.frames import encode
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
        last = encode_column(text_column(COLUMN))
        packets = [write_int(len(definitions) + 1), *definitions, last, encode_eof(0, self.session.status)]
        self.write_packets([encode(packet, 0) for packet in packets])
