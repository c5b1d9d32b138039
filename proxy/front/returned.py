"""The rows of INSERT .. RETURNING from several servers, in the order of the rows that were inserted."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.back.connection import ServerConnection
from proxy.errors import ServerFailed, TurnoutError
from proxy.front.reading import renumber
from proxy.front.row_streams import Splitter, other_columns
from proxy.plan.plan import Route, Send
from proxy.wire.frames import encode, next_sequence
from proxy.wire.packets import encode_eof


class Returned:
    """`results` are the servers' whole responses, as `route.sends` has them. `problem`: they do not make one answer."""

    def __init__(
        self, route: Route, pairs: Sequence[tuple[Send, ServerConnection]], results: Sequence[bytes | BaseException]
    ) -> None:
        self.rows: list[bytes] = []
        self.problem: TurnoutError | None = None
        answers = []
        for result in results:
            assert isinstance(result, bytes)
            answers.append(Splitter(payloads=True))
            answers[-1].feed(result)
        self._head = answers[0].head_packets
        waiting = [iter(answer.rows) for answer in answers]
        self.rows = [row for send in route.rows if (row := next(waiting[send], None)) is not None]
        for (send, _), answer in zip(pairs, answers):
            if answer.header != answers[0].header:
                self.problem = other_columns(send.cluster, pairs[0][0].cluster)
        if len(self.rows) != len(route.rows) or any(next(rest, None) is not None for rest in waiting):
            self.problem = self.problem or ServerFailed(
                f"RETURNING gave other rows than the {len(route.rows)} that were inserted", 1105, "HY000"
            )

    def answer(self, sequence: int, warnings: int, status: int) -> bytes:
        """The frames of the one answer, from this sequence id on."""
        head, sequence = renumber(self._head, sequence)
        parts = [head]
        for payload in [*self.rows, encode_eof(warnings, status)]:
            parts.append(encode(payload, sequence))
            sequence = next_sequence(len(payload), sequence)
        return b"".join(parts)
