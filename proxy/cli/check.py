"""`turnout check`: everything that is wrong or doubtful with a rules file, and with the servers that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop

from proxy.cli import console
from proxy.cli.servers import Answer, look
from proxy.plan.caching import class_problem
from proxy.plan.differing import differing
from proxy.plan.foreign_keys import apart, left_behind
from proxy.plan.places import table_clusters
from proxy.plan.sharding import check_sharding_keys
from proxy.rules.diff import Change, Severity, diff
from proxy.rules.loader import load
from proxy.rules.model import Rules
from proxy.rules.problem import Problem, RulesInvalid, listed
from proxy.rules.warning import warnings


def check(path: Path, against: Path | None, servers: bool) -> int:
    """Print what was found. Returns the exit code: 1 when the rules cannot be used, or servers cannot do what they say;
    0 otherwise."""
    rules = _load(path)
    old = _load(against) if against else None
    if rules is None or (against and old is None):
        return 1
    doubts = list(warnings(rules))
    console.problems(doubts, "yellow", "warning")
    failed = 0
    if servers:
        answer = uvloop.run(look(rules))
        findings = list(server_findings(rules, answer))
        for finding in findings:
            style, word = ("yellow", "warning") if finding.warning else ("red", "error")
            if finding.note:
                style, word = "green", "note"
            console.problems([Problem(str(path), 0, 0, finding.where, finding.message)], style, word)
        failed = sum(not finding.warning and not finding.note for finding in findings)
        doubts += [Problem(str(path), 0, 0, f.where, f.message) for f in findings if f.warning]
    if old is not None:
        console.say(f"Against {against}:", "bold")
        console.changes([*diff(old, rules), *(_foreign_key_changes(old, rules, answer) if servers else ())])
    if failed:
        console.say(f"{path}: {counted(failed, 'error')}, {counted(len(doubts), 'warning')}", "bold red")
        return 1
    checked = "rules and servers checked" if servers else "rules checked"
    console.say(f"{path}: {checked}, {counted(len(doubts), 'warning')}", "bold green")
    return 0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a server says about the rules."""

    where: str
    message: str
    warning: bool
    note: bool = False  # neither wrong nor doubtful


def server_findings(rules: Rules, answer: Answer) -> Iterator[Finding]:
    """Servers that do not answer, tables that are not where the rules say, keys that cannot be shard keys."""
    for one in rules.clusters.values():
        if one.service is None and rules.service is None:
            yield Finding(f"clusters.{one.name}", "has no service account: its servers were not asked.", True)
    for where, reason in answer.unreachable:
        yield Finding("", f"{where} could not be asked: {reason}{_denied(reason)}", False)
    nowhere = {(one.where, cluster) for one in answer.accounts for cluster in one.lacking}
    for account in answer.accounts:
        yield Finding(account.where, account.message, account.warning)
    for database in rules.databases.values():
        for entry in database.tables.values():
            for cluster in table_clusters(rules, entry):
                if (f"databases.{entry.database}", cluster) in nowhere:
                    continue
                if cluster in answer.asked and answer.catalog.find(cluster, entry.database, entry.name) is None:
                    where = f"databases.{entry.database}.tables.{entry.name}"
                    message = f"There is no such table on cluster {cluster}, or Turnout's own account may not see it."
                    yield Finding(where, message, False)
    for other in differing(rules, answer.catalog):
        advice = "Give it the same definition on all of them: compare SHOW CREATE TABLE."
        where = f"databases.{other.database}.tables.{other.table}"
        yield Finding(where, f"It is not the same on all of its clusters. {other.what} {advice}", not other.grave)
    yield from _foreign_key_findings(rules, answer)
    yield from _cache_findings(rules, answer)
    for home, (missing, wrong) in answer.sequences.items():
        message = f"Ids of sharded tables' AUTO_INCREMENT columns are made from a table here. {missing}"
        yield Finding(f"clusters.{home}", message, warning=wrong, note=not wrong)
    for found in answer.directories:
        yield Finding(f"shardings.{found.sharding}.table", found.message, found.warning)
    for cluster, why in answer.not_atomic.items():
        yield Finding(f"clusters.{cluster}", f"It cannot take part in atomic transactions: {why}", False)
    for cluster, why in answer.not_durable.items():
        yield Finding(
            f"clusters.{cluster}",
            f"{why}: after a power failure its server may have lost its part of an atomic transaction. "
            "Set innodb_flush_log_at_trx_commit = 1 and sync_binlog = 1.",
            True,
        )
    for problem in check_sharding_keys(rules, answer.catalog):
        where = f"databases.{problem.database}.tables.{problem.table}"
        yield Finding(where, f"{problem.message} {problem.suggestion}".strip(), problem.warning)


def _denied(reason: str) -> str:
    if "Access denied" not in reason:
        return ""
    found = _SEEN_FROM.search(reason)
    user, host = (found[1], found[2]) if found is not None else ("..", "localhost")
    return (
        ". This is Turnout's own account (`service:`). Is its password right? Then an anonymous account is in the way: "
        f"DROP USER ''@'{host}'; or create '{user}'@'{host}' too, and repeat its GRANTs."
    )


_SEEN_FROM = re.compile(r"'([^']*)'@'([^']*)'")
_MOST_NAMES = 10


def _foreign_key_findings(rules: Rules, answer: Answer) -> Iterator[Finding]:
    """Foreign keys whose tables the rules take apart, and copies of tables where the rules place none."""
    for one in apart(rules, answer.catalog):
        database, table = one.key.child
        yield Finding(f"databases.{database}.tables.{table}", one.message, not one.grave)
    for (database, cluster), tables in left_behind(rules, answer.catalog).items():
        more = len(tables) - _MOST_NAMES
        names = listed(tables) if more <= 0 else f"{', '.join(f'`{t}`' for t in tables[:_MOST_NAMES])} and {more} more"
        these = "a table" if len(tables) == 1 else "tables"
        yield Finding(
            f"databases.{database}",
            f"Cluster {cluster} has {these} that the rules do not place there: {names}. No statement reaches what is "
            "there, so it is harmless, but stale: drop it when nobody needs it.",
            True,
        )


def _foreign_key_changes(old: Rules, new: Rules, answer: Answer) -> Iterator[Change]:
    """Which foreign keys the change takes apart, and which it brings together."""
    before = {(one.key.child, one.key.name): one for one in apart(old, answer.catalog) if one.grave}
    after = {(one.key.child, one.key.name): one for one in apart(new, answer.catalog) if one.grave}
    for name, one in after.items():
        if name not in before:
            where = f"databases.{one.key.child[0]}.tables.{one.key.child[1]}"
            message = f"takes {one.name} apart, which is kept now. {one.where} {' '.join(one.effects)} {one.advice}"
            yield Change(Severity.CAUTION, where, message)
    for name, one in before.items():
        if name not in after:
            where = f"databases.{one.key.child[0]}.tables.{one.key.child[1]}"
            yield Change(Severity.INFO, where, f"{one.name} would be kept, which is not so now.")


def _cache_findings(rules: Rules, answer: Answer) -> Iterator[Finding]:
    """Coherent classes on servers that cannot be followed, and classes by which nothing can be cached."""
    for entry in rules.cached_tables:
        where = f"databases.{entry.database}.tables.{entry.name}.cache"
        for cluster in table_clusters(rules, entry):
            if cluster in answer.not_followable and any(one.ttl_s is None for one in entry.cache):
                message = f"{answer.not_followable[cluster]}. Or give the class a `ttl:`: it is then not coherent."
                yield Finding(where, message, False)
            schema = answer.catalog.find(cluster, entry.database, entry.name)
            for one in entry.cache:
                why = class_problem(schema, one, rules) if schema is not None else ""
                if why:
                    by = ", ".join(one.by)
                    yield Finding(where, f"Nothing is cached by ({by}) on cluster {cluster}: {why}.", True)


def _load(path: Path) -> Rules | None:
    try:
        return load(path)
    except RulesInvalid as error:
        console.problems(error.problems)
        console.say(f"{path}: {counted(len(error.problems), 'error')}", "bold red")
        return None


def counted(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"
