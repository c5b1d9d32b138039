"""SQL-level PREPARE, EXECUTE and DEALLOCATE where tables are on several clusters.

No server keeps such a statement: the session keeps its text, which a server has read for the answer to PREPARE, and
EXECUTE runs it with the values in the place of its `?`, like a statement that the client has sent. Values of user
variables are what the session knows of them, or are asked of the connection that the session is pinned to.
"""

from __future__ import annotations

from collections.abc import Sequence

from parser.rewrite import literal, quoted, unescape
from parser.statement import Hole, Kind, Statement, Value, Word
from proxy.back.connection import ServerConnection
from proxy.errors import StatementRefused
from proxy.front import prepared as binary_protocol
from proxy.front.inlined import binary, check_reading, decimal, double, integer, places, run_inside, with_values
from proxy.front.prepared_statement import Prepared
from proxy.front.row_streams import server_error
from proxy.front.session import Session
from proxy.plan import refusals
from proxy.plan.plan import Do, Local
from proxy.wire import column
from proxy.wire.charsets import codec
from proxy.wire.column import ColumnDefinition, parse_column
from proxy.wire.resultset import read_resultset

_INTEGERS = frozenset({column.TINY, column.SHORT, column.INT24, column.LONG, column.LONGLONG})
_NOT_FIXED = 31


async def run_named(session: Session, statement: Statement, literals: Sequence[bytes]) -> None:
    """Carry out one of the three and answer the client. Raises TurnoutError."""
    name = statement.name.lower()
    if statement.kind is Kind.PREPARE:
        session.named.pop(name, None)  # also where the new one is wrong
        session.sql_prepared.pop(name, None)
        binary_protocol.check_room(session)
        made = await _read(session, statement, literals)
        if made is not None:
            session.named[name] = made
            session.diagnostics, session.warning_count = None, 0
            session.ok(info=b"Statement prepared")
        return
    if statement.kind is Kind.EXECUTE and statement.detail == "immediate":
        made = await _read(session, statement, literals)
        if made is not None:
            await _execute(session, made, statement.arguments[1:], literals)
        return
    known = session.named.get(name)
    if known is None:
        raise unknown(statement)
    if statement.kind is Kind.DEALLOCATE:
        del session.named[name]
        session.ok()
    else:
        await _execute(session, known, statement.arguments, literals)


def unknown(statement: Statement) -> StatementRefused:
    """The server's own error for a name that no statement has."""
    what = "EXECUTE" if statement.kind is Kind.EXECUTE else "DEALLOCATE PREPARE"
    return StatementRefused(
        f"Unknown prepared statement handler ({statement.name}) given to {what}",
        1243,
        "HY000",
        reason="unknown-prepared",
    )


async def _read(session: Session, statement: Statement, literals: Sequence[bytes]) -> Prepared | None:
    """The statement that a text holds, once a server has read it; None: the server's error was told. Raises
    TurnoutError."""
    text = await _text(session, statement, literals)
    made = binary_protocol.read_statement(session, text)
    plan = made.entry.plan
    if isinstance(plan, Local):
        if plan.do is Do.EMPTY:
            raise StatementRefused("Query was empty", 1065, "42000", reason="empty")
        if plan.do in (Do.PREPARE, Do.NAMED, Do.TURNOUT) or places(made.shape, made.lexer):
            raise binary_protocol.unsupported()
        return made
    answer = await binary_protocol.describe(session, made)
    if answer is None:
        return None
    response, made.params, _ = answer
    for name in _column_names(response, made.params):
        if b"?" in name:
            shown = name.decode("utf-8", "replace")
            why = f"a column would then be called by the value instead of '{shown}'"
            raise refusals.SQL_PREPARE.error(verb=_verb(statement), why=f"{why}, unless it is given an alias")
    return made


def _column_names(response: bytes, params: int) -> list[bytes]:
    packets = []
    at = 0
    while at < len(response):
        end = at + 4 + int.from_bytes(response[at : at + 3], "little")
        packets.append(response[at + 4 : end])
        at = end
    first = 1 + (params + 1 if params else 0)
    return [parse_column(packet).name for packet in packets[first:-1]]


async def _execute(
    session: Session, made: Prepared, arguments: Sequence[Value | str], literals: Sequence[bytes]
) -> None:
    count = len(places(made.shape, made.lexer))
    if len(arguments) != count:
        raise StatementRefused("Incorrect arguments to EXECUTE", 1210, "HY000", reason="execute-arguments")
    check_reading(session, made)
    names = [each for each in arguments if isinstance(each, str)]
    variables = await _values(session, names) if names else {}
    values = []
    for each in arguments:
        value = variables[each] if isinstance(each, str) else _constant(each, session, literals)
        if value is None:
            shown = each if isinstance(each, str) else "an expression behind USING"
            why = f"{shown} has no literal that surely means the same"
            raise refusals.SQL_PREPARE.error(verb="EXECUTE", why=why)
        values.append(value)
    sql = with_values(made.shape, made.literals, made.lexer, values)
    await run_inside(session, sql)


def _constant(value: Value, session: Session, literals: Sequence[bytes]) -> bytes | None:
    if isinstance(value, Word):
        return b"NULL" if value is Word.NULL else None
    if not isinstance(value, Hole):
        return None
    text = literals[value.index]
    if value.is_string:
        return literal(unescape(text, session.lexer, b'"' if value.double_quoted else b"'"), session.lexer)
    return (b"-" if value.negative else b"") + text


async def _text(session: Session, statement: Statement, literals: Sequence[bytes]) -> bytes:
    """The text that PREPARE or EXECUTE IMMEDIATE is given. Raises StatementRefused."""
    given = statement.arguments[0]
    if isinstance(given, Hole) and given.is_string:
        return unescape(literals[given.index], session.lexer, b'"' if given.double_quoted else b"'")
    found = (await _values(session, [given]))[given] if isinstance(given, str) else None
    if found is None:
        raise refusals.SQL_PREPARE.error(verb=_verb(statement), why="its text is neither a string nor a user variable")
    shape, texts = session.lexer.shape(found)
    return unescape(texts[0], session.lexer) if shape == b"'\0'" else found


def _verb(statement: Statement) -> str:
    return "EXECUTE IMMEDIATE" if statement.detail == "immediate" else statement.kind.value.upper()


async def _values(session: Session, names: Sequence[str]) -> dict[str, bytes | None]:
    """What user variables hold, as literals; None where none means the same. Raises TurnoutError."""
    if not session.pinned:  # then they are numbers that follow the session, or nothing
        return {name: session.settings.get(name) or b"NULL" for name in names}
    held = [session.held[cluster] for cluster in session.pinned if cluster in session.held]
    if len(held) != 1:
        clusters = ", ".join(sorted(session.pinned))
        why = f"the session is pinned to several clusters ({clusters}), so that it is not certain what variables hold"
        raise refusals.SQL_PREPARE.error(verb="EXECUTE", why=why)
    return await _asked(session, held[0], list(dict.fromkeys(names)))


async def _asked(session: Session, connection: ServerConnection, names: Sequence[str]) -> dict[str, bytes | None]:
    items = []
    for name in names:
        variable = _spelled("@" + quoted(name[1:]), session)
        items += [variable, b"HEX(%s)" % variable, b"COLLATION(%s)" % variable]
    await session.dress(connection)
    text = b"SELECT " + b", ".join([*items, b"@@collation_connection"]) + b" LIMIT 1"
    session.last_on = None  # what the statement before left there is gone
    response = await connection.command(b"\x03" + text)
    if connection.scanner.errno:
        raise server_error(connection.scanner.error)
    reader = read_resultset(response)
    row = reader.rows[0]
    wanted = (row[-1] or b"").decode()
    return {
        name: _variable(
            reader.columns[3 * n], row[3 * n], row[3 * n + 1], (row[3 * n + 2] or b"").decode(), wanted, session
        )
        for n, name in enumerate(names)
    }


def _variable(
    kind: ColumnDefinition, value: bytes | None, raw: bytes | None, collated: str, wanted: str, session: Session
) -> bytes | None:
    """A user variable's value as a literal. `raw`: a string's bytes in hexadecimal; `wanted`: the collation that
    literals have."""
    if value is None:
        return b"NULL"
    if kind.type in _INTEGERS:
        return integer(int(value))
    if kind.type == column.DOUBLE and kind.decimals == _NOT_FIXED:
        return double(float(value))
    if kind.type in (column.DECIMAL, column.NEWDECIMAL):
        return decimal(value)
    found = bytes.fromhex((raw or b"").decode())
    if collated == "binary":
        return binary(found, session.lexer)
    charset = collated.partition("_")[0]
    if charset == wanted.partition("_")[0] and collated != wanted:
        return None  # it would keep its own collation
    try:
        text = found.decode(codec(charset) or "ascii")
        return literal(text.encode(codec(session.lexer.charset) or "ascii"), session.lexer)
    except UnicodeError:
        return None


def _spelled(name: str, session: Session) -> bytes:
    if name.isascii():
        return name.encode()
    try:
        return name.encode(codec(session.lexer.charset) or "ascii")
    except UnicodeError:
        why = f"{name} cannot be written in {session.lexer.charset}"
        raise refusals.SQL_PREPARE.error(verb="EXECUTE", why=why) from None
