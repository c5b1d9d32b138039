"""`routing_rules.yaml` -> `Rules`, or everything that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from proxy.rules import tree
from proxy.rules.accounts import Secrets, check_service, read_service, read_users
from proxy.rules.caching import read_cache
from proxy.rules.conform import conform
from proxy.rules.databases import read_databases
from proxy.rules.form import FileForm
from proxy.rules.model import BusyPolling, Health, History, Limits, Pool, Rules, Scheduling, Transactions, Workbench
from proxy.rules.problem import Problem, RulesInvalid
from proxy.rules.report import Report
from proxy.rules.servers import read_clusters, read_listen
from proxy.rules.shardings import read_shardings
from proxy.rules.unsupported import refuse_unsupported
from proxy.rules.warning import warnings

__all__ = ["Problem", "RulesInvalid", "load", "parse", "warnings"]


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Rules:
    """The rules in the file at `path`. Raises RulesInvalid with all that is wrong with it."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RulesInvalid([Problem(str(path), 0, 0, "", f"The file cannot be read: {error.strerror}.")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        column = error.start - (error.object.rfind(b"\n", 0, error.start) + 1) + 1
        problem = Problem(str(path), line, column, "", "The file is not UTF-8 text.", "Save it as UTF-8.")
        raise RulesInvalid([problem]) from None
    return parse(text, path, environ)


def parse(text: str, path: Path, environ: Mapping[str, str] = os.environ) -> Rules:
    """The rules in `text`, as if it stood in the file at `path`: other files are looked up beside it.

    Passwords come from `environ` where the rules say so. Raises RulesInvalid with all that is wrong.
    """
    found = tree.read(text, str(path))
    if found.root is None:
        raise RulesInvalid(found.problems)
    report = Report(str(path), found.root, found.problems)
    form = conform(found, report)
    refuse_unsupported(report)
    folder = path.parent
    secrets = Secrets(report, folder, environ)
    if "turnout" not in report.keys(()):
        report.add(("turnout",), "is missing", "Begin the file with `turnout: 1`, the version of this format.")
    listen = read_listen(report, form, folder)
    users = read_users(report, form, secrets)
    clusters = read_clusters(report, form, folder, secrets)
    service = read_service(report, ("service",), form.service, secrets)
    check_service(report, form)
    if form.users_from is not None:
        report.refer(("users_from",), form.users_from, report.keys(("clusters",)), "cluster")
    shardings = read_shardings(report, form)
    databases = read_databases(report, form, shardings)
    health = _health(report, form)
    cache = read_cache(report, form)
    workbench = _workbench(report, form)
    if report.problems or listen is None:
        raise RulesInvalid(report.problems)
    first = next(iter(databases.values()), None)
    return Rules(
        path=path,
        listen=listen,
        workers=len(os.sched_getaffinity(0)) if form.workers == "auto" else form.workers,
        users=users,
        clusters=clusters,
        default_home=first.home if first else next(iter(clusters)),
        service=service,
        users_from=form.users_from,
        shardings=shardings,
        databases=databases,
        cache=cache,
        transactions=Transactions(form.transactions),
        workbench=workbench,
        health=health,
        pool=Pool(
            wait_s=form.pool.wait,
            max_waiters=form.pool.max_waiters,
            max_idle_s=form.pool.max_idle,
            max_age_s=form.pool.max_age,
            max_statements=form.pool.max_statements,
        ),
        limits=Limits(
            login_s=form.limits.login,
            drain_s=form.limits.drain,
            max_packet=form.limits.max_packet,
            slow_statement_s=form.limits.slow_statement,
            logins_per_second=form.limits.logins_per_second,
            logins_per_address=form.limits.logins_per_address,
            idle_s=form.limits.idle,
            statement_s=form.limits.statement,
            session_memory=form.limits.session_memory,
            result_rows=form.limits.result_rows,
            result_bytes=form.limits.result_bytes,
            shapes=form.limits.shapes,
        ),
        history=History(folder / form.history.file) if form.history is not None else None,
        scheduling=Scheduling(form.scheduling),
        busy_poll=BusyPolling(form.busy_poll) if form.busy_poll is not None else None,
        text=text,
    )


def _workbench(report: Report, form: FileForm) -> Workbench | None:
    asked = form.workbench
    if asked == "off":
        return None
    report.refer(("workbench", "cluster"), asked.cluster, report.keys(("clusters",)), "cluster")
    return Workbench(asked.cluster, asked.max_rows, asked.max_time)


def _health(report: Report, form: FileForm) -> Health:
    health = form.health
    if health.timeout < health.every:
        at = "timeout" if "timeout" in report.keys(("health",)) else "every"
        if not report.has_problem(("health",)):
            message = "would call a server down between two probes: `timeout` is shorter than `every`"
            report.add(("health", at), message, "Make `timeout` at least as long as `every`.")
    return Health(every_s=health.every, timeout_s=health.timeout, connect_timeout_s=health.connect_timeout)
