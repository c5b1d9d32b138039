"""`turnout advise`: what to scale next, with which technique, what that brings, and what to leave alone."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

import click

from proxy.admin.advice import GROWTH_S, ONLY, PEAK_S, as_yaml, checked, layout, together
from proxy.cli import console
from proxy.cli.sources import Asked, NoMeasurements, from_logs, measured
from proxy.measure import own
from proxy.measure.advice import CORES, Advice, Server, Step, advise
from proxy.measure.headroom import Growth, Weeks, daily, growth
from proxy.measure.history import HistoryFile
from proxy.measure.key_history import KeysRead
from proxy.measure.log_keys import LogKeys
from proxy.measure.ranking import Row, iso
from proxy.measure.workload import workload
from proxy.rules.loader import load
from proxy.rules.model import Rules


def run(asked: Asked, cores: Mapping[str, float], every: float | None, as_json: bool, now: float | None = None) -> None:
    """Print what to do. Raises TurnoutError; click.UsageError where `cores` names clusters that are not there."""
    now = time.time() if now is None else now
    rules = load(asked.rules) if asked.rules.exists() else None
    check_cores(cores, rules)
    of_logs = LogKeys(asked.lexer) if asked.slow_logs else None
    found = own.without(from_logs(asked, of_logs) if of_logs is not None else measured(asked))
    if not found.shapes:
        raise NoMeasurements(f"{found.source} has no statements in that time")
    if not found.knows.times:
        raise NoMeasurements(
            f"{found.source} does not say how long statements took: advice needs a slow log or a history"
        )
    keys, growths, peak = KeysRead(), dict[str, Growth | None](), dict[str, float]()
    if of_logs is not None:
        keys = of_logs.end()
    path = None if asked.slow_logs else asked.history or (rules.history.file if rules and rules.history else None)
    if path is not None:
        until = asked.until if asked.until is not None else now
        history = HistoryFile(path, read_only=True)
        try:
            keys = history.read_keys(asked.since, asked.until)
            growths = {name: growth(days) for name, days in daily(history.read_days(until - GROWTH_S, until)).items()}
            peak = history.read_peaks(until - PEAK_S, until)
        finally:
            history.close()
    advice = checked(advise(workload(found, keys), layout(rules, cores, every), growths, peak), rules)
    if as_json:
        shown_as = document(advice, rules, found.source, found.since, found.until)
        click.echo(json.dumps({**shown_as, "notes": found.notes}, indent=2, ensure_ascii=False))
        return
    console.say(f"{found.source}, {iso(found.since)} to {iso(found.until)}", "bold")
    if guessed := [one.cluster for one in advice.servers if one.cores is None]:
        console.say(
            f"Note: the servers of {', '.join(guessed)} are taken to have {CORES:g} cores each, which `safe` and all "
            f"weeks follow from. Say what they have: --cores {guessed[0]}=16, or `cores: 16` in its cluster's rules.",
            "yellow",
        )
    for note in found.notes:
        console.say(f"Note: {note}.", "yellow")
    if not keys.keys:
        console.say("Note: nothing is known of keys, so caches cannot be judged; a history tells of them.", "yellow")
    shown(advice)


def shown(advice: Advice) -> None:
    """For a terminal."""
    if advice.too_little:
        console.say(f"{_sentence(advice.too_little)} {_sentence(advice.enough)}", "bold")
    console.table(
        ["server", "busy", "safe", "growth a week", "full in (weeks)", "with all steps"],
        [
            [
                f"{one.cluster}, primary",
                f"{one.load:.2f}",
                f"{one.capacity:.1f}",
                _percent(one.growth),
                _weeks(one.weeks),
                _weeks(one.after),
            ]
            for one in advice.servers
        ],
        "Servers: statements under way at the busiest hour",
    )
    console.table(
        ["step", "technique", "what", "takes off", "adds (weeks)", "how sure", "when"],
        [
            [
                number,
                step.technique.value,
                step.what,
                f"{100 * step.share:.0f} % of {step.cluster}",
                f"{step.adds_weeks:.0f}" if step.adds_weeks is not None else "unknown",
                step.sure.value,
                _when(step),
            ]
            for number, step in enumerate(advice.steps, 1)
        ],
        "What to do, the cheapest first",
    )
    for number, step in enumerate(advice.steps, 1):
        console.say(f"{number}. {step.what}", "bold")
        for line in step.evidence:
            console.say(f"   {line}")
        if step.rules:
            console.say("   " + as_yaml(step.rules).replace("\n", "\n   ").rstrip())
    console.table(
        ["table", "share of load", "why", "unless"],
        [[one.table, f"{100 * one.share:.1f} %", one.why, one.unless] for one in advice.alone],
        "Leave alone",
    )


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def document(
    advice: Advice, rules: Rules | None, source: str, since: float | None, until: float | None
) -> dict[str, object]:
    """For programs. What is not known is null."""
    return {
        "source": source,
        "since": iso(since),
        "until": iso(until),
        "servers": [_server(one) for one in advice.servers],
        "too_little": f"{advice.too_little}; {advice.enough}" if advice.too_little else None,
        "steps": [_step(one) for one in advice.steps],
        "leave_alone": [
            {"table": one.table, "share_pct": round(100 * one.share, 2), "why": one.why, "unless": one.unless}
            for one in advice.alone
        ],
        "rules": together(advice, rules),
    }


def _server(one: Server) -> Row:
    row: Row = {
        "cluster": one.cluster,
        "role": "primary",
        "busy": round(one.load, 3),
        "safe": round(one.capacity, 3),
        "cores": one.cores if one.cores is not None else CORES,
        "cores_are": "said" if one.cores is not None else "assumed",
        "growth_pct_a_week": round(100 * one.growth.a_week, 2) if one.growth is not None else None,
    }
    for name, weeks in (("weeks", one.weeks), ("weeks_with_all_steps", one.after)):
        values = (weeks.expected, weeks.soonest, weeks.latest) if weeks is not None else (None, None, None)
        for suffix, value in zip(("", "_soonest", "_latest"), values):
            row[name + suffix] = round(value, 1) if value is not None else None
    row["known"] = "yes" if one.weeks is not None else "no"
    return row


def _step(one: Step) -> dict[str, object]:
    return {
        "technique": one.technique.value,
        "cluster": one.cluster,
        "tables": list(one.tables),
        "what": one.what,
        "evidence": list(one.evidence),
        "takes_off": round(one.takes_off, 4),
        "share_pct": round(100 * one.share, 2),
        "sure": one.sure.value,
        "adds_weeks": round(one.adds_weeks, 1) if one.adds_weeks is not None else None,
        "due": one.due,
        "rules": as_yaml(one.rules) if one.rules else None,
    }


def _percent(how: Growth | None) -> str:
    return (
        f"{100 * how.a_week:+.1f} % ({100 * how.low:+.1f} to {100 * how.high:+.1f})" if how is not None else "unknown"
    )


def _weeks(weeks: Weeks | None) -> str:
    if weeks is None:
        return "unknown"
    if weeks.expected is None:
        return "no end in sight" if weeks.soonest is None else f"not before {weeks.soonest:.0f}"
    latest = f"{weeks.latest:.0f}" if weeks.latest is not None else "never"
    return f"{weeks.expected:.0f} ({weeks.soonest or 0:.0f} to {latest})"


def _when(step: Step) -> str:
    return "unknown" if step.due is None else "now" if step.due else "later"


def parsed_cores(words: Sequence[str]) -> tuple[dict[str, float], float | None]:
    """`16` or `main=16`, several of them in one word between commas: (by cluster, of all others). Raises ValueError."""
    found: dict[str | None, float] = {}
    for word in [part.strip() for each in words for part in each.split(",")]:
        cluster, given, number = (part.strip() for part in (word.partition("=") if "=" in word else ("", "", word)))
        try:
            cores = float(number)
        except ValueError:
            cores = 0.0
        if not 0 < cores < 10_000 or (given and not cluster):
            raise ValueError(f"`{word}` is no number of cores: write `16`, `main=16` or `main=16,media=8`")
        of = cluster or None
        if found.setdefault(of, cores) != cores:
            raise ValueError(f"The cores of {of or 'all others'} are given twice: {found[of]:g} and {cores:g}")
    every = found.pop(None, None)
    return {cluster: cores for cluster, cores in found.items() if cluster is not None}, every


def check_cores(cores: Mapping[str, float], rules: Rules | None) -> None:
    """Are there such clusters? Raises click.UsageError."""
    known = list(rules.clusters) if rules is not None else [ONLY]
    unknown = [f"`{cluster}`" for cluster in cores if cluster not in known]
    if unknown:
        there = "rules know" if rules is not None else "without rules there is"
        raise click.UsageError(f"--cores: there is no cluster {', '.join(unknown)}; {there} {', '.join(known)}.")
