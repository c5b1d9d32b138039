"""Each client, with each way to log in, through Turnout: it sees what it sees on the server itself.

What clients see is asked for in one go by the fixture `seen`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from tests.clients.clients import CLIENTS, THOROUGH, Client
from tests.clients.jobs import (
    ACCOUNTS,
    ON_SERVER,
    OPTIONS,
    PLAYS,
    REFUSED,
    TRANSPORTS,
    playing,
    refused,
    there,
    with_option,
)
from tests.clients.scenario import (
    EXPECTED_COMPRESS,
    EXPECTED_HUGE,
    EXPECTED_INFILE,
    EXPECTED_SEVERAL,
    NATIVE,
    OWN_WAY,
    SHA2,
    UNKNOWN_DATABASE,
    Error,
    Seen,
    access_denied,
)

pytestmark = pytest.mark.servers
Seeing = Callable[[str], Mapping[str, Seen]]


# A client's tests stay in one process, which has run it; two processes share all of them, each with servers of its own.
every_client = pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=(
                pytest.mark.xdist_group(f"clients {n % 2}"),
                *([pytest.mark.thorough] if name in THOROUGH else []),
            ),
        )
        for n, name in enumerate(CLIENTS)
    ],
)
every_account = pytest.mark.parametrize("user", ACCOUNTS)
every_transport = pytest.mark.parametrize("transport", TRANSPORTS)


# What libmysqlclient says when a server asks for the password itself, as MySQL and Turnout do after a wrong proof by
# caching_sha2_password, and there is neither TLS nor leave to ask for the key.
NO_KEY: Error = [
    2061,
    "HY000",
    "Authentication plugin 'caching_sha2_password' reported error: Authentication requires secure connection.",
]
# Steps in which accounts differ.
PERSONAL = ("session", "changed user")


@every_client
def test_sees_what_is_expected_on_the_server(name: str, clients: Callable[[str], Client], seen: Seeing) -> None:
    client = clients(name)
    direct = seen(name)[ON_SERVER]
    huge = {step: value for step, value in EXPECTED_HUGE.items() if step not in client.lacks}
    expected = comparable(client, {**client.expected(NATIVE, SHA2), **huge})
    assert {step: direct.get(step, direct.get("failed")) for step in expected} == expected
    for step in set(OWN_WAY) - client.lacks:
        found = direct[step]
        assert isinstance(found, list | str)
        assert len(found) >= 5 if step != "type columns" else found


@every_client
@pytest.mark.parametrize(("user", "transport"), PLAYS)
def test_works_as_on_the_server(
    name: str, user: str, transport: str, clients: Callable[[str], Client], seen: Seeing
) -> None:
    client = clients(name)
    direct, ours = seen(name)[ON_SERVER], seen(name)[playing(user, transport)]
    expected = comparable(client, client.expected(client.account(user), SHA2 if user == NATIVE else NATIVE))
    personal = {step: expected[step] for step in PERSONAL if step in expected}
    wanted = {**direct, **personal}
    if not EXPECTED_HUGE.keys() & ours.keys():
        assert transport == "plain"
        wanted = {step: value for step, value in wanted.items() if step not in EXPECTED_HUGE}
    for step in wanted:  # one by one: the whole is long
        found, other = (told(client, step, saw.get(step, saw.get("failed"))) for saw in (ours, wanted))
        assert found == other, step
    assert ours.keys() == wanted.keys()


EXPECTED: dict[str, Seen] = {"several": EXPECTED_SEVERAL, "infile": EXPECTED_INFILE, "compress": EXPECTED_COMPRESS}


@every_client
@pytest.mark.parametrize("option", OPTIONS)
@every_transport
def test_connections_with_an_option(
    name: str, option: str, transport: str, clients: Callable[[str], Client], seen: Seeing
) -> None:
    client = clients(name)
    if option in client.lacks:
        pytest.skip(f"{name} has nothing for this")
    direct = seen(name)[there(option)]
    expected = comparable(client, {**EXPECTED[option], **client.differing(option)})
    assert {step: direct.get(step, direct.get("failed")) for step in expected} == expected
    assert seen(name)[with_option(option, transport)] == direct


@every_client
@every_account
@every_transport
def test_refuses_logins_as_the_server_does(
    name: str, user: str, transport: str, clients: Callable[[str], Client], seen: Seeing
) -> None:
    client, saw = clients(name), seen(name)
    nowhere: Error = [1049, "42000", f"Unknown database '{UNKNOWN_DATABASE}'"]
    errors = (access_denied(client.account(user)), access_denied("nobody"), nowhere)
    for why, error in zip(REFUSED, errors, strict=True):
        login = refused(why, user, transport)
        expected = refusal(client, error)
        assert saw[there(login)] == expected
        found = saw[login]
        assert found == expected or (transport == "plain" and not client.asks_for_key and found == {"error": NO_KEY})
    assert saw[refused("right", user, transport)] == {"answer": "in"}


def refusal(client: Client, error: Error) -> Seen:
    """What a login shows that is refused."""
    return {"error": error if client.sqlstates and client.login_sqlstates else without_sqlstate(error)}


def told(client: Client, step: str, shown: object) -> object:
    """What was seen in a step, without the columns that Turnout tells less of."""
    hidden = client.untold.get(step)
    if not hidden or not isinstance(shown, list):
        return shown
    if step == "type columns":
        return [column for n, column in enumerate(shown) if n not in hidden]
    return [[value for n, value in enumerate(row) if n not in hidden] for row in shown]


def comparable(client: Client, seen: Seen) -> Seen:
    """Errors without SQLSTATE, for a client that does not tell it."""
    if client.sqlstates:
        return seen
    return {step: without_sqlstate(value) for step, value in seen.items()}


def without_sqlstate(value: object) -> object:
    match value:
        case [int(errno), str(), str(message)]:
            return [errno, None, message]
        case list():
            return [without_sqlstate(each) for each in value]
        case _:
            return value
