"""What to do next, and what to leave alone, from the history: for `turnout advise` and for the dashboard."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
from ruamel.yaml import YAML

from proxy.measure import advice as measured_advice
from proxy.measure.advice import CORES, Layout, Server, Step, advise, merged
from proxy.measure.headroom import daily, growth
from proxy.measure.history import HistoryFile
from proxy.measure.spans import DAY
from proxy.measure.workload import workload
from proxy.rules.loader import parse
from proxy.rules.model import ReadFrom, Rules
from proxy.rules.problem import RulesInvalid

WINDOW_S = 7 * DAY
STEPS = 20  # that are shown
TABLES = 30  # that are to be left alone

GROWTH_S = 26 * 7 * DAY  # that growth is taken from
PEAK_S = 35 * DAY
ONLY = "server"  # the cluster's name where there are no rules


def layout(rules: Rules | None, cores: Mapping[str, float] | None = None, every: float | None = None) -> Layout:
    """Where the rules have their tables. What is said here of cores goes before what the rules say: `cores` by cluster,
    `every` of all others."""
    said = dict(cores or {})
    if rules is None:
        return Layout(lambda table: ONLY, cores=lambda cluster: said.get(cluster, every))
    if every is None:
        said = {name: float(one.cores) for name, one in rules.clusters.items() if one.cores is not None} | said

    def cluster_of(name: str) -> str | None:
        database, _, table = name.rpartition(".")
        entry = rules.table(database or None, table)
        if entry is None:
            return rules.home(database or None)
        return entry.cluster if entry.sharding is None and not entry.everywhere else None

    tables = [table for database in rules.databases.values() for table in database.tables.values()]
    return Layout(
        cluster_of,
        frozenset(name for name, cluster in rules.clusters.items() if cluster.replicas),
        frozenset(f"{one.database}.{one.name}" for one in tables if one.reads.source is ReadFrom.REPLICAS),
        frozenset((f"{one.database}.{one.name}", each.by) for one in tables for each in one.cache),
        lambda cluster: said.get(cluster, every),
        frozenset(rules.clusters),
    )


def as_yaml(rules: Mapping[str, object]) -> str:
    """Lines for routing_rules.yaml."""
    yaml = YAML()
    yaml.default_flow_style = False
    out = io.StringIO()
    yaml.dump(_plain(rules), out)
    return out.getvalue()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value


# -- lines for the rules -----------------------------------------------------------------------------------------------


def checked(found: measured_advice.Advice, rules: Rules | None) -> measured_advice.Advice:
    """The same with no lines that `turnout check` would not accept; without `rules`, in a file that says no more than
    it has to."""
    base = _file_of(rules)
    return replace(found, steps=tuple(_with_good_lines(step, base, rules) for step in found.steps))


def together(found: measured_advice.Advice, rules: Rules | None) -> Mapping[str, object]:
    """The lines of all steps; of lines that do not go with those before them, none."""
    base, lines = _file_of(rules), dict[str, object]()
    for step in found.steps:
        more = merged(lines, step.rules)
        if step.rules and _problem(more, base, rules) is None:
            lines = more
    return lines


def _with_good_lines(step: Step, base: Mapping[str, object], rules: Rules | None) -> Step:
    if not step.rules:
        return step
    lines = _with_homes(step, base, rules)
    problem = _problem(lines, base, rules)
    if problem is None:
        return replace(step, rules=lines)
    why = f"no lines for the rules: `turnout check` would not accept them ({problem})"
    return replace(step, rules={}, evidence=(*step.evidence, why))


def _with_homes(step: Step, base: Mapping[str, object], rules: Rules | None) -> Mapping[str, object]:
    """A database that the rules do not name yet stays where it is."""
    known, named = base.get("databases") or {}, step.rules.get("databases") or {}
    assert isinstance(known, Mapping)
    assert isinstance(named, Mapping)
    if rules is None:
        return step.rules
    homes = {database: {"home": rules.home(database)} for database in named if database not in known}
    return merged({"databases": homes}, step.rules) if homes else step.rules


def _file_of(rules: Rules | None) -> Mapping[str, object]:
    if rules is None:
        return {
            "turnout": 1,
            "listen": {"mysql": "127.0.0.1:3307"},
            "users": {"app": {"password": "app"}},
            "service": {"user": "turnout", "password": "turnout"},
            "clusters": {ONLY: {"primary": "127.0.0.1:3306"}},
        }
    found: Mapping[str, object] = YAML(typ="safe").load(rules.text)
    return found


def _problem(lines: Mapping[str, object], base: Mapping[str, object], rules: Rules | None) -> str | None:
    """What is wrong with the rules when these lines are in them."""
    databases = lines.get("databases") or {}
    assert isinstance(databases, Mapping)
    if not all(databases):
        return "it is not known which database the table is in"
    whole = merged(base, lines)
    if rules is None:
        whole = merged(whole, {"databases": {name: {"home": ONLY} for name in databases}})
    try:
        parse(as_yaml(whole), rules.path if rules is not None else Path("routing_rules.yaml"))
    except RulesInvalid as error:
        first = error.problems[0]
        return f"{first.where}: {first.message}" if first.where else first.message
    return None


class Advised(msgspec.Struct, frozen=True):
    """One thing to do, the cheapest first."""

    tables: str
    technique: str
    what: str
    evidence: list[str]
    rules: str  # lines to put into the rules
    cluster: str
    share_pct: float  # of the load of its primary, that it takes off
    adds_weeks: float | None
    sure: str
    due: bool | None


class LeaveAlone(msgspec.Struct, frozen=True):
    table: str
    share_pct: float
    why: str
    unless: str


class Headroom(msgspec.Struct, frozen=True):
    """A cluster's primary at its busiest hour: statements under way, and how many are safe."""

    cluster: str
    load: float
    safe: float
    weeks: float | None  # until it is full; None: not known, or no end in sight
    known: bool
    cores: float
    assumed: bool  # are the cores? Nobody has said how many there are


class Advice(msgspec.Struct, frozen=True):
    headroom: list[Headroom]
    steps: list[Advised]
    leave_alone: list[LeaveAlone]
    too_little: str = ""  # to advise on: how little it is, and what would change that


def advice(path: Path, rules: Rules, now: float) -> Advice | None:
    """From the last week of a history; None where nothing is in it. Takes up to seconds. Raises HistoryUnusable."""
    since = now - WINDOW_S
    file = HistoryFile(path, read_only=True)
    try:
        found = file.read(since)
        keys = file.read_keys(since)
        growths = {name: growth(days) for name, days in daily(file.read_days(now - GROWTH_S, now)).items()}
        peaks = file.read_peaks(now - PEAK_S, now)
    finally:
        file.close()
    if not found.shapes:
        return None
    made = checked(advise(workload(found, keys), layout(rules), growths, peaks), rules)
    return Advice(
        [_headroom(one) for one in made.servers],
        [
            Advised(
                ", ".join(one.tables),
                one.technique.value,
                one.what,
                list(one.evidence),
                as_yaml(one.rules) if one.rules else "",
                one.cluster,
                round(100 * one.share, 1),
                round(one.adds_weeks, 1) if one.adds_weeks is not None else None,
                one.sure.value,
                one.due,
            )
            for one in made.steps[:STEPS]
        ],
        [LeaveAlone(one.table, round(100 * one.share, 1), one.why, one.unless) for one in made.alone[:TABLES]],
        f"{made.too_little}; {made.enough}" if made.too_little else "",
    )


def _headroom(one: Server) -> Headroom:
    weeks = one.weeks.expected if one.weeks is not None else None
    return Headroom(
        one.cluster,
        round(one.load, 3),
        round(one.capacity, 1),
        round(weeks, 1) if weeks is not None else None,
        one.weeks is not None,
        one.cores if one.cores is not None else CORES,
        one.cores is None,
    )
