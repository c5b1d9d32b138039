"""Clients that say nothing, found without looking at all of them: as if all were looked at in every tick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from proxy.back.settings import NONE, Settings
from proxy.front.client import Client
from proxy.front.overdue import IdleLimits
from proxy.front.quiet import QuietClients

LIMITS = (IdleLimits(None, 5.0, 9.0), IdleLimits(3.0, 5.0, 9.0), IdleLimits(None, 12.0, 2.0))


@dataclass
class FakeSession:
    settings: Settings = NONE
    statements: int = 0
    busy: bool = False
    closed: bool = False


@dataclass(eq=False)
class FakeClient:
    number: int
    session: FakeSession = field(default_factory=FakeSession)
    capabilities: int = 0
    quiet: bool = True
    looked_at_in: int = 0
    quiet_since: float = 0.0
    statements_seen: int = -1
    model_since: float = 0.0  # the same, of a model that looks at everybody
    model_seen: int = -1


def limits_seconds(limits: IdleLimits, client: FakeClient) -> float:
    return limits.seconds(cast(Client, client), cast(Client, client).session)  # type: ignore[arg-type]


class World:
    def __init__(self) -> None:
        self.now_s = 100.5
        self.quiet = QuietClients(self.now_s)
        self.clients: list[FakeClient] = []
        self.connected = 0
        self.limits = LIMITS[0]
        self.looks = 0

    def speak(self, client: FakeClient) -> None:
        client.session.statements += 1
        if client.quiet:
            client.quiet = False
            self.quiet.awake.append(cast(Client, client))

    def connect(self) -> None:
        client = FakeClient(self.connected)
        self.connected += 1
        self.clients.append(client)
        client.quiet = False
        self.quiet.awake.append(cast(Client, client))

    def leave(self, client: FakeClient) -> None:
        client.session.closed = True
        self.clients.remove(client)
        self.quiet.gone(cast(Client, client))

    def tick(self) -> None:
        self.now_s += 1
        expected = []
        for client in self.clients:
            if client.session.busy or client.session.statements != client.model_seen:
                client.model_seen = client.session.statements
                client.model_since = self.now_s
            elif self.now_s - client.model_since > limits_seconds(self.limits, client):
                expected.append(client.number)
        self.looks += len(self.quiet.awake)
        over = cast(list[tuple[FakeClient, FakeSession]], self.quiet.tick(self.now_s, self.limits))
        assert sorted(client.number for client, _ in over) == expected
        for client, _ in over:
            self.leave(client)


STEPS = st.lists(
    st.one_of(
        st.just(("tick", 0)),
        st.just(("connect", 0)),
        st.tuples(st.sampled_from(["speak", "begin", "end", "leave", "set"]), st.integers(0, 9)),
        st.tuples(st.just("limits"), st.integers(0, 2)),
    ),
    max_size=80,
)


@given(STEPS)
def test_as_if_all_were_looked_at(steps: list[tuple[str, int]]) -> None:
    world = World()
    for what, number in steps:
        client = world.clients[number % len(world.clients)] if world.clients else None
        if what == "tick":
            world.tick()
        elif what == "connect":
            world.connect()
        elif what == "limits":
            world.limits = LIMITS[number]
            world.tick()
        elif client is None:
            continue
        elif what == "leave":
            world.leave(client)
        elif what == "end":
            client.session.busy = False
        elif not client.session.busy:
            if what == "set":
                client.session.settings = NONE.with_changes({"wait_timeout": b"'%d'" % number})
            world.speak(client)
            client.session.busy = what == "begin"
    for client in world.clients:
        client.session.busy = False
    for _ in range(15):
        world.tick()
    assert not world.clients
    assert not world.quiet._buckets
    assert not world.quiet.awake


def test_who_is_quiet_is_not_looked_at() -> None:
    world = World()
    world.limits = IdleLimits(None, 1000.0, 1000.0)
    for _ in range(500):
        world.connect()
    for _ in range(3):
        world.tick()
    looks = world.looks
    for _ in range(900):
        world.speak(world.clients[7])
        world.tick()
    assert world.looks - looks <= 2 * 900
    for _ in range(200):
        world.tick()
    assert [client.number for client in world.clients] == [7]
