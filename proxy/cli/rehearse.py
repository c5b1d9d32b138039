"""`turnout rehearse`: what proposed rules would do to the statements that were recorded, before anybody uses them."""

from __future__ import annotations

import json
from pathlib import Path

import click
import uvloop

from proxy.admin.rehearsal import Rehearsed, Verdict, as_proposed, at_least, rehearse, shares, unjudged
from proxy.back.catalog import EMPTY
from proxy.cli import console
from proxy.cli.servers import look
from proxy.cli.sources import Asked, NoMeasurements, measured
from proxy.measure import own
from proxy.measure.ranking import Row, iso
from proxy.rules.loader import load

FAIL_ON = {
    "refused": Verdict.REFUSED,
    "depends": Verdict.DEPENDS,
    "workbench": Verdict.WORKBENCH,
    "several": Verdict.SEVERAL,
}


def run(new_rules: Path, asked: Asked, fail_on: str, from_servers: bool, limit: int | None, as_json: bool) -> int:
    """Print the verdicts. Returns the exit code: 1 where a shape's is as bad as `fail_on`, or cannot be judged for want
    of a catalog (`never`: 0)."""
    rules = load(new_rules)
    found = own.without(measured(asked))
    if not found.shapes:
        raise NoMeasurements(f"{found.source} has no statements in that time")
    catalog, complete = EMPTY, False
    if from_servers:
        answer = uvloop.run(look(rules, suitable=False))
        for where, reason in answer.unreachable:
            console.complain(f"{where} could not be asked: {reason}")
        catalog, complete = as_proposed(answer.catalog, rules), not answer.unreachable
    rehearsed = rehearse(found.shapes, rules, catalog, complete)
    unknown = unjudged(rehearsed)
    bad = [one for one in rehearsed if fail_on != "never" and at_least(one.verdict, FAIL_ON[fail_on])]
    every = found.all()
    timed = found.knows.times
    summary: list[Row] = [
        {
            "verdict": share.verdict.value,
            "shapes": share.shapes,
            "statements": share.tally.count,
            "statements_pct": round(100 * share.tally.count / every.count, 2) if every.count else None,
            "time_pct": round(100 * share.tally.total_ns / every.total_ns, 2) if timed and every.total_ns else None,
        }
        for share in shares(rehearsed)
    ]
    rows = [_row(one, timed, every.count) for one in rehearsed]
    if as_json:
        document = {
            "rules": str(new_rules),
            "source": found.source,
            "since": iso(found.since),
            "until": iso(found.until),
            "fail_on": fail_on,
            "failed": len(bad),
            "not_judged": len(unknown),  # for want of a catalog
            "verdicts": summary,
            "shapes": rows,
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return 1 if fail_on != "never" and (bad or unknown) else 0
    console.say(f"{found.source} under {new_rules}", "bold")
    for note in found.notes:
        console.say(f"Note: {note}.", "yellow")
    console.table(list(summary[0]), [list(row.values()) for row in summary])
    told = [
        row for row, one in zip(rows, rehearsed, strict=True) if one.reason or at_least(one.verdict, Verdict.WORKBENCH)
    ]
    for row in told[:limit]:
        console.say(f"{row['verdict']} ({row['statements_pct']} % of statements): {row['shape']}", "bold")
        console.say(f"    {row['detail']}")
    if len(told) > (limit or len(told)):
        console.say(f"... and {len(told) - (limit or 0)} more: --limit shows them, --json all.")
    if unknown:
        how = (
            "the servers that could not be asked would tell."
            if from_servers
            else "--catalog-from-servers reads them from the servers of the new rules."
        )
        console.say(
            f"{len(unknown)} of {len(rehearsed)} shapes cannot be judged without their tables' columns and keys: {how}",
            "bold yellow",
        )
    if bad:
        console.say(f"{len(bad)} of {len(rehearsed)} shapes: {fail_on} or worse.", "bold red")
    elif fail_on != "never" and not unknown:
        console.say(f"No shape of {len(rehearsed)} is {fail_on} or worse.", "bold green")
    return 1 if fail_on != "never" and (bad or unknown) else 0


def _row(one: Rehearsed, timed: bool, statements: int) -> Row:
    tally = one.measured.tally
    return {
        "verdict": one.verdict.value,
        "statements": tally.count,
        "statements_pct": round(100 * tally.count / statements, 2) if statements else None,
        "total_s": round(tally.total_ns / 1e9, 6) if timed else None,
        "plan": one.plan,
        "was": one.measured.shape.kind,
        "clusters": ", ".join(one.clusters),
        "reason": one.reason,
        "detail": one.detail,
        "shape_id": one.measured.shape.id,
        "shape": one.measured.digest,
    }
