"""The limits' own arithmetic."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from proxy.errors import StatementRefused
from proxy.front.overdue import IdleLimits, Overdue, idle_error, timeout_error
from proxy.front.rates import Rates
from proxy.front.session_memory import grow
from proxy.rules.model import Limits
from proxy.wire.capability import INTERACTIVE
from proxy.wire.frames import encode
from proxy.wire.packets import encode_err, parse_err


def outcome(rates: Rates, origin: str, limits: Limits, now: float) -> str:
    refused = rates.admit(origin, limits, now)
    return "ok" if refused is None else f"{refused[0]} {refused[1].errno} {refused[1].sqlstate}"


def test_logins_are_counted_within_a_second() -> None:
    rates, limits = Rates(), Limits(logins_per_second=5, logins_per_address=2)
    assert [outcome(rates, "a", limits, 7.1) for _ in range(4)] == ["ok", "ok", *["address-rate 1129 HY000"] * 2]
    assert [outcome(rates, name, limits, 7.9) for name in "bcde"] == ["ok", "ok", "ok", "rate 1040 08004"]
    assert outcome(rates, "a", limits, 8.0) == "ok"


def test_no_limit_of_logins() -> None:
    rates, limits = Rates(), Limits(logins_per_second=0, logins_per_address=0)
    assert {outcome(rates, "a", limits, 7.1) for _ in range(5000)} == {"ok"}


def test_what_is_remembered_of_addresses_is_bounded_by_what_is_let_in() -> None:
    rates, limits = Rates(), Limits(logins_per_second=10, logins_per_address=2)
    for number in range(100_000):
        rates.admit(str(number), limits, 1.0)
    assert len(rates._by_address) <= 10


def a_session(mariadb: bool = True, settings: dict[str, bytes] | None = None, **limits: Any) -> Any:
    baseline = SimpleNamespace(wait_timeout_s=600.0, interactive_timeout_s=9000.0)
    home = SimpleNamespace(primary=SimpleNamespace(health=SimpleNamespace(baseline=baseline)))
    rules = SimpleNamespace(limits=Limits(**limits), default_home="main")
    environment = SimpleNamespace(rules=rules, servers={"main": home}, mariadb=mariadb)
    return SimpleNamespace(environment=environment, settings=settings or {}, prepared={}, named={}, memory=0)


@pytest.mark.parametrize(
    ("flags", "settings", "limits", "expected"),
    [
        (0, {}, {}, 600.0),
        (INTERACTIVE, {}, {}, 9000.0),
        (0, {"wait_timeout": b"'60'"}, {}, 60.0),
        (INTERACTIVE, {"wait_timeout": b"100000"}, {}, 100000.0),
        (INTERACTIVE, {}, {"idle_s": 30.0}, 30.0),
        (0, {"wait_timeout": b"60"}, {"idle_s": 30.0}, 30.0),
        (0, {"wait_timeout": b"'5'"}, {"idle_s": 30.0}, 5.0),
    ],
)
def test_how_long_a_client_may_say_nothing(
    flags: int, settings: dict[str, bytes], limits: dict[str, float], expected: float
) -> None:
    client: Any = SimpleNamespace(capabilities=flags)
    session = a_session(settings=settings, **limits)
    assert IdleLimits.of(session.environment).seconds(client, session) == expected


def test_errors_are_those_of_the_server_at_home() -> None:
    assert idle_error(a_session(mariadb=True)) is None
    error = idle_error(a_session(mariadb=False))
    assert error is not None
    assert error.errno == 4031
    assert timeout_error(a_session(mariadb=True, statement_s=5.0)).errno == 1969
    assert timeout_error(a_session(mariadb=False, statement_s=5.0)).errno == 3024


@pytest.mark.parametrize("cut", [0, 1, 5, 9])
def test_the_servers_interrupted_is_told_as_what_it_means(cut: int) -> None:
    interrupted = encode_err(1317, "70100", "Query execution was interrupted")
    response = encode(b"a row", 4) + encode(interrupted, 5)
    scanner = SimpleNamespace(errno=1317, error=interrupted)
    told: list[tuple[Any, bytes]] = []
    session = a_session(statement_s=2.0)
    session.environment.measures = SimpleNamespace(refused=lambda reason: None)
    session.on_end = lambda connection, pieces: told.append((connection, b"".join(pieces)))
    connection: Any = SimpleNamespace(scanner=scanner)
    Overdue(session, session).on_end(connection, [response[:cut], response[cut:]])
    ((_, data),) = told
    assert data[:9] == encode(b"a row", 4)
    assert data[12] == 5
    assert int.from_bytes(data[9:12], "little") == len(data) - 13
    error = parse_err(data[13:])
    assert (error.errno, error.sqlstate) == (1969, "70100")
    assert (scanner.errno, scanner.error) == (1969, data[13:])


def test_another_answer_stays_as_it_is() -> None:
    told: list[bytes] = []
    session = a_session()
    session.on_end = lambda connection, pieces: told.extend(pieces)
    connection: Any = SimpleNamespace(scanner=SimpleNamespace(errno=0))
    Overdue(session, session).on_end(connection, [b"what it was"])
    assert told == [b"what it was"]


def statement(text: int, data: int = 0) -> Any:
    return SimpleNamespace(sql=b"x" * text, long_data={0: b"y" * data})


def test_prepared_statements_take_memory_until_they_are_closed() -> None:
    session = a_session(session_memory=1000)
    for number in range(3):
        grow(session, text=100)
        session.prepared[number] = statement(100)
    with pytest.raises(StatementRefused, match="Memory capacity of 1000 bytes") as raised:
        grow(session, text=100)
    assert (raised.value.errno, raised.value.sqlstate, raised.value.reason) == (3170, "HY000", "session-memory")
    grow(session, data=50)
    del session.prepared[1]
    grow(session, text=100)
    session.prepared[1] = statement(100)
    with pytest.raises(StatementRefused):
        grow(session, data=101)
    grow(session, data=100)


def test_data_sent_ahead_counts() -> None:
    session = a_session(session_memory=1000)
    session.prepared[1] = statement(10, data=900)
    session.memory = 930
    with pytest.raises(StatementRefused):
        grow(session, data=71)
    session.prepared[1].long_data.clear()
    grow(session, data=900)
