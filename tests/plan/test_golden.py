"""SQL text -> plan, as `golden/*.txt` say. `python -m tests.plan.test_golden` writes them anew from what is planned.

A golden file is a list of statements, each on one line, with the plan's description indented below; `#` begins a
comment, and `## transactions: single`, `## workbench: media` or `## database: stats` set what follows under.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from parser.analyse import parse
from parser.shape import lexer
from proxy.errors import StatementRefused
from proxy.front.values import TextValues
from proxy.plan.inserts import InsertRows
from proxy.plan.plan import Local, Refuse, Reply
from proxy.plan.planner import plan
from tests.plan import shop

FOLDER = Path(__file__).with_name("golden")
FILES = sorted(FOLDER.glob("*.txt"))
RULES = {
    (transactions, workbench): shop.rules(transactions, workbench)
    for transactions in ("single", "best_effort", "atomic")
    for workbench in ("off", "main", "media")
}
CATALOG = shop.catalog()
SHARDED = frozenset(
    table.name.lower()
    for database in RULES["single", "off"].databases.values()
    for table in database.tables.values()
    if table.sharding is not None
)


def described(
    sql: str, transactions: str = "best_effort", database: str | None = "shop", workbench: str = "off"
) -> list[str]:
    """The plan of a statement, and where it goes with the literals that it has."""
    text = sql.encode()
    shape, literals = lexer().shape(text)
    statement = parse(shape, literals, lexer=lexer(), prepared=False)
    made = plan(statement, RULES[transactions, workbench], CATALOG, database)
    without = parse(shape, literals, lexer=lexer(), prepared=False, merged=SHARDED)  # as workers do
    assert plan(without, RULES[transactions, workbench], CATALOG, database).describe() == made.describe()
    lines = [f"{what}: {value}" for what, value in made.describe()]
    if isinstance(made, Local | Refuse):
        return lines
    try:
        values = TextValues(literals, lexer())
        route = made.example(values, text, 1001) if isinstance(made, InsertRows) else made.route(values, text)
    except StatementRefused as refusal:
        return [*lines, f"here: refused, {refusal.reason}: {refusal.message}"]
    if route.work is not None:
        work = route.work
        for part in work.parts:
            for send in part.route.sends:
                lines.append(f"here: on {send.cluster} {(send.text or part.text).decode()}")
        for each in work.pulls:
            condition = f" where {each.condition.decode()}" if each.condition else ""
            lines.append(f"here: {each.pull.name} from {', '.join(each.clusters)}{condition}")
        return [*lines, f"then on {work.cluster}: {work.shown().decode()}"]
    if route.gather is not None:
        for ask in route.gather.asks:
            for cluster, wanted in (*ask.there, (route.gather.cluster, ask.here)):
                lines.append(f"here: {ask.mention.table.name} of {cluster} where {wanted.decode()}")
        return lines
    if route.showing is not None:
        return lines
    if route.listed is not None:
        listed = route.listed
        then = [f"then: {part.head.decode()}..{part.tail.decode()}" for part in listed.parts]
        return [*lines, f"here: {listed.find.decode()}", *then]
    if route.selected is not None:
        selected = route.selected
        text = (selected.head + b".." + selected.tail).decode()
        return [*lines, f"here: {selected.find.decode()}{(selected.lock or b'').decode()}", f"then: {text}"]
    if route.explaining is not None:
        words = route.explaining.words.decode()
        for each in route.explaining.pulls:
            condition = f" WHERE {each.condition.decode()}" if each.condition else ""
            lines.append(f"here: {words}{each.pull.name} on {', '.join(each.clusters)}{condition}")
        return lines
    if route.within is not None:
        return [*lines, f"here: {route.within.settings.decode()}", f"then: {route.within.sql.decode()}"]
    if route.loading is not None:
        return [*lines, f"here: {route.loading.text.decode()}"]
    targets = ", ".join(send.cluster for send in route.sends)
    lines.append(f"here: {targets}" + (f", {route.reply.value}" if len(route.sends) > 1 else ""))
    lines += [f"  {send.cluster}: {send.text.decode()}" for send in route.sends if send.text is not None]
    return lines


def rewritten(text: str) -> str:
    """The golden file with every description replaced by what is planned now."""
    settings: dict[str, str] = {}
    lines = []
    for line in text.splitlines():
        if line.startswith("## "):
            name, _, value = line[3:].partition(": ")
            settings[name] = value
        if not line.startswith(" "):
            lines.append(line)
            if line and not line.startswith("#"):
                lines += [f"    {each}" for each in described(line, **settings)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    text = path.read_text()
    assert text == rewritten(text)


def test_there_are_golden_files_with_every_kind_of_plan() -> None:
    text = "".join(path.read_text() for path in FILES)
    for kind in (
        "local",
        "forward",
        "shard",
        "insert",
        "scatter",
        "write-all",
        "ddl",
        "table-work",
        "workbench",
        "key-list",
        "insert-select",
        "refuse",
        "show",
        "system",
    ):
        assert f"    plan: {kind}\n" in text, kind
    for reply in Reply:
        assert f", {reply.value}\n" in text, reply


if __name__ == "__main__":
    for golden in FILES:
        golden.write_text(rewritten(golden.read_text()))
