"""`turnout explain`: what Turnout would do with a statement, by the rules alone or with the servers' schemas."""

from __future__ import annotations

from pathlib import Path

import uvloop

from parser.analyse import parse
from parser.shape import lexer
from proxy.admin.explain import COLUMNS
from proxy.back.catalog import EMPTY, Catalog
from proxy.back.directory import KeysUnknown
from proxy.cli import console
from proxy.cli.servers import look
from proxy.errors import StatementRefused
from proxy.front.values import TextValues
from proxy.plan.foreign_keys import lines as foreign_key_lines
from proxy.plan.inserts import InsertRows
from proxy.plan.places import unmatched
from proxy.plan.plan import Local, Refuse
from proxy.plan.planner import plan
from proxy.rules.loader import load
from proxy.rules.model import Rules


def explain_sql(path: Path, sql: str, database: str | None, from_servers: bool) -> int:
    """Print the plan. Returns the exit code: 1 when the statement is refused. Raises RulesInvalid."""
    rules = load(path)
    catalog = EMPTY
    if from_servers:
        answer = uvloop.run(look(rules, suitable=False))
        for where, reason in answer.unreachable:
            console.complain(f"{where} could not be asked: {reason}")
        catalog = answer.catalog
    lines, refused = explained(rules, catalog, sql, database)
    if not from_servers and ("reason", "schema-unknown") in lines:
        lines.append(
            ("hint", "explain asks no servers by itself: add --catalog-from-servers to read the tables' columns")
        )
    console.table(COLUMNS, lines)
    return 1 if refused else 0


def explained(rules: Rules, catalog: Catalog, sql: str, database: str | None) -> tuple[list[tuple[str, str]], bool]:
    """(what, value) lines about the shape and about this very statement, and whether it is refused."""
    lex = lexer()
    text = sql.encode()
    shape, literals = lex.shape(text)
    statement = parse(shape, literals, lexer=lex, prepared=False)
    made = plan(statement, rules, catalog, database)
    lines = [("shape", statement.digest or statement.kind.value), *made.describe()]
    lines += [("note", line) for line in unmatched(statement.tables, database)]
    lines += [("foreign key", line) for line in foreign_key_lines(statement, rules, catalog, database)]
    if isinstance(made, (Local, Refuse)):
        return lines, isinstance(made, Refuse)
    try:
        values = TextValues(literals, lex)
        route = made.example(values, text) if isinstance(made, InsertRows) else made.route(values, text)
    except KeysUnknown as error:
        keys = ", ".join(sorted(key.decode("utf-8", "replace") for key in error.keys))
        return [*lines, ("sends to", f"the cluster that {error.directory.table} has for {keys}")], False
    except StatementRefused as error:
        return [*lines, ("refused", error.message)], True
    if route.work is not None:
        for part in route.work.parts:
            for send in part.route.sends:
                text = send.text if send.text is not None else part.text
                lines.append((f"asks {send.cluster}", text.decode(errors="replace")))
        for pulled in route.work.pulls:
            condition = f" where {pulled.condition.decode(errors='replace')}" if pulled.condition else ""
            lines.append(("pulls", f"{pulled.pull.label} from {', '.join(pulled.clusters)}{condition}"))
        lines.append((f"then on {route.work.cluster}", route.work.shown().decode(errors="replace")))
    if route.gather is not None:
        for ask in route.gather.asks:
            for cluster, wanted in ask.there:
                lines.append(
                    ("brings", f"{ask.mention.table.name} from {cluster} where {wanted.decode(errors='replace')}")
                )
        lines.append(("then on", route.gather.cluster))
    if route.listed is not None:
        listed = route.listed
        lines.append(("finds by", listed.find.decode(errors="replace")))
        lines += [("writes by", (part.head + b".." + part.tail).decode(errors="replace")) for part in listed.parts]
    if route.selected is not None:
        selected = route.selected
        lines.append(("selects by", (selected.find + (selected.lock or b"")).decode(errors="replace")))
        lines.append(("inserts by", (selected.head + b".." + selected.tail).decode(errors="replace")))
    if route.explaining is not None:
        for pulled in route.explaining.pulls:
            condition = f" where {pulled.condition.decode(errors='replace')}" if pulled.condition else ""
            lines.append(("explains", f"{pulled.pull.label} on {', '.join(pulled.clusters)}{condition}"))
    if route.within is not None:
        lines.append(("runs in the settings", route.within.sql.decode(errors="replace")))
    if route.loading is not None:
        lines.append(("each is sent", route.loading.text.decode(errors="replace")))
    for send in route.sends:
        lines.append(("sends to", send.cluster))
        if send.text is not None:
            lines.append(("as", send.text.decode(errors="replace")))
    return lines, False
