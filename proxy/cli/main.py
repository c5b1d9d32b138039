"""The command `turnout`. Exit codes: 0 done, 1 a problem that is printed, 2 wrong usage, 3 stopped by force.

Commands import what they need when they run: `turnout status` should not wait for an SQL parser to load.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import uvloop

from parser.from_source import VARIABLE, outdated
from proxy.cli import console
from proxy.cli.version import version
from proxy.errors import TurnoutError
from proxy.measure import log as logs
from proxy.rules.problem import RulesInvalid

if TYPE_CHECKING:
    from proxy.cli.sources import Asked

DEFAULT_RULES = "routing_rules.yaml"
DEFAULT_WINDOW = "1d"  # of `turnout measure` with a history
ADVICE_WINDOW = "7d"
OVERVIEW = ("STATUS", "CLUSTERS", "WORKERS", "SHAPES LIMIT 10")

_rules = click.argument("rules", type=click.Path(path_type=Path, dir_okay=False))
_rules_or_default = click.argument("rules", type=click.Path(path_type=Path, dir_okay=False), default=DEFAULT_RULES)


class Commands(click.Group):
    """Shows the errors that we raise on purpose as sentences."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except RulesInvalid as error:
            console.problems(error.problems, stderr=True)
        except TurnoutError as error:
            console.complain(error.message)
        return ctx.exit(1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version(), prog_name="turnout")
def main() -> None:
    """A MySQL-protocol proxy that sends each table's statements where its rule says.

    RULES is the rules file, routing_rules.yaml.
    """


@main.command()
@_rules
@click.option("--log-level", type=click.Choice(logs.LEVELS), default="info", show_default=True)
@click.option(
    "--log-format",
    type=click.Choice(logs.FORMATS),
    default="auto",
    show_default=True,
    help="auto: text on a terminal, JSON lines otherwise.",
)
@click.pass_context
def serve(ctx: click.Context, rules: Path, log_level: str, log_format: str) -> None:
    """Run the proxy until SIGTERM or SIGINT.

    A second one stops at once; SIGHUP reloads RULES.
    """
    from proxy.cli.nursery import Nursery
    from proxy.cli.process_name import name_process
    from proxy.cli.streams import STREAM_COMMAND
    from proxy.cli.supervisor import IMPORTED, WORKER_COMMAND, Supervisor

    changed = outdated()
    if changed:
        raise click.ClickException(
            f"{', '.join(changed)}: changed after what runs in their place was compiled; `make setup` compiles them "
            f"again, and {VARIABLE}=1 runs them as they are"
        )
    logs.configure(log_level, log_format)
    path = rules.absolute()
    logging = ("--log-level", log_level, "--log-format", log_format)
    name_process("turnout")
    nursery = Nursery.open(IMPORTED)

    async def run() -> int:
        return await Supervisor(path, (*WORKER_COMMAND, *logging), (*STREAM_COMMAND, *logging), nursery).run()

    try:
        code = uvloop.run(run())
    finally:
        nursery.close()
    ctx.exit(code)


@main.command()
@_rules
@click.option("--against", type=click.Path(path_type=Path, dir_okay=False), help="Say what a change from it would do.")
@click.option("--no-servers", is_flag=True, help="Look at the file only; do not ask the servers.")
@click.pass_context
def check(ctx: click.Context, rules: Path, against: Path | None, no_servers: bool) -> None:
    """Report all that is wrong or doubtful with RULES.

    With its line and what to write instead. The servers are asked about tables, keys and accounts. Exit code 1 for
    errors, servers that do not answer among them; 0 for warnings.
    """
    from proxy.cli.check import check as run

    logging.getLogger("turnout").setLevel(logging.CRITICAL)  # what servers answer is in the report
    ctx.exit(run(rules, against, servers=not no_servers))


@main.command()
@_rules
@click.argument("sql")
@click.option("--database", help="The default database, as after USE.")
@click.option("--catalog-from-servers", is_flag=True, help="Read the tables' columns and keys from the servers.")
@click.pass_context
def explain(ctx: click.Context, rules: Path, sql: str, database: str | None, catalog_from_servers: bool) -> None:
    """Show what Turnout would do with a statement.

    Exit code 1 when it would refuse it.
    """
    from proxy.cli.explain_sql import explain_sql

    logging.getLogger("turnout").setLevel(logging.CRITICAL)
    ctx.exit(explain_sql(rules, sql, database, catalog_from_servers))


@main.command()
@_rules_or_default
@click.pass_context
def reload(ctx: click.Context, rules: Path) -> None:
    """Have a running Turnout read its rules again.

    A bad file changes nothing.
    """
    from proxy.cli import link
    from proxy.cli.control import ask, candidates

    outcome = uvloop.run(ask(candidates(rules), link.ReloadNow))
    assert isinstance(outcome, link.Outcome)
    for note in outcome.notes:
        console.say(note)
    if outcome.problem:
        console.say(outcome.problem, "red", stderr=True)
        console.complain("the rules in force stay as they were")
        ctx.exit(1)
    console.say("Rules reloaded.", "bold green")


@main.command()
@_rules_or_default
@click.argument("what", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one list of objects per table.")
def status(rules: Path, what: tuple[str, ...], as_json: bool) -> None:
    """Show how a running Turnout is doing.

    WHAT is a table of SHOW TURNOUT: clusters, shapes, sessions, tables, sequences, cache, streams, rules, workers or
    status, also with "limit N".
    """
    from proxy.cli import link
    from proxy.cli.control import NoControl, ask, candidates

    wanted = (" ".join(what),) if what else OVERVIEW

    paths = candidates(rules)

    async def fetch() -> list[link.Rows]:
        answers = []
        for name in wanted:
            answer = await ask(paths, functools.partial(link.Show, what=name))
            assert isinstance(answer, link.Rows)
            if answer.problem:
                raise NoControl(answer.problem)
            answers.append(answer)
        return answers

    answers = uvloop.run(fetch())
    if as_json:
        tables = {
            name.split()[0].lower(): [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
            for name, answer in zip(wanted, answers, strict=True)
        }
        click.echo(json.dumps(tables, indent=2, ensure_ascii=False))
        return
    for name, answer in zip(wanted, answers, strict=True):
        console.table(answer.columns, answer.rows, "" if what else name.split()[0].capitalize())


_slow_log = click.option(
    "--slow-log",
    "slow_logs",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Instead of the history: a slow query log of MySQL, MariaDB or Percona Server; may be .gz.",
)
_general_log = click.option(
    "--general-log",
    "general_logs",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The same with a general log, which does not say how long statements took.",
)
_performance_schema = click.option(
    "--performance-schema",
    "dsn",
    metavar="DSN",
    help="Instead: a running server's own sums; `mysql://user@host:3306`, with the password in MYSQL_PWD.",
)
_for = click.option(
    "--for", "for_", metavar="TIME", help="With --performance-schema: only what happens from now on, so long: `10m`."
)
_history = click.option(
    "--history",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The history's file, where the rules that name it are not at hand.",
)
_since = click.option("--since", help="From when on: `2h` ago (s, m, h, d, w) or `2026-11-26 14:00`.")
_until = click.option("--until", help="Up to when, written likewise.")
_charset = click.option("--charset", default="utf8mb4", show_default=True, help="Of the log's statements.")
_ansi_quotes = click.option("--ansi-quotes", is_flag=True, help="The log's statements quote names with \".")
_no_escapes = click.option("--no-backslash-escapes", is_flag=True, help="In their strings \\ is a character.")


def _asked(rules: Path, words: dict[str, Any]) -> Asked:
    """The options that say which measurements are wanted."""
    from parser.shape import lexer
    from proxy.cli.sources import Asked, moment

    try:
        return Asked(
            rules,
            words["slow_logs"],
            words["general_logs"],
            moment(words["since"]) if words["since"] else None,
            moment(words["until"]) if words["until"] else None,
            lexer(words["ansi_quotes"], words["no_backslash_escapes"], words["charset"]),
            words["history"],
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _of_measurements(command: Callable[..., None]) -> Callable[..., None]:
    for option in (_no_escapes, _ansi_quotes, _charset, _until, _since, _history, _general_log, _slow_log):
        command = option(command)
    return command


@main.command()
@_rules_or_default
@_of_measurements
@click.option("--by", "subject", type=click.Choice(["shape", "table", "server"]), help="Only this ranking.")
@click.option(
    "--order", type=click.Choice(["total", "count", "mean", "p95"]), default="total", show_default=True, help="By what."
)
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, help="Lines of each; 0: all.")
@click.option("--json", "form", flag_value="json", help="Print JSON: everything.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV: shapes, or what --by says.")
@_performance_schema
@_for
@click.option("--live", is_flag=True, help="Watch a running Turnout: what its statements cost now.")
@click.pass_context
def measure(
    ctx: click.Context,
    /,
    rules: Path,
    subject: str | None,
    order: str,
    limit: int,
    form: str | None,
    live: bool,
    dsn: str | None,
    for_: str | None,
    **words: Any,
) -> None:
    """Show what costs most, by shape and by table.

    From the history that RULES names (the last day, unless told), or from a server's logs, which needs no Turnout and
    no rules.
    """
    from proxy.cli.measure import show
    from proxy.cli.sources import measured

    elsewhere = bool(words["slow_logs"] or words["general_logs"] or words["history"])
    windowed = bool(words["since"] or words["until"])
    if for_ and not dsn:
        raise click.UsageError("--for goes with --performance-schema.")
    if dsn and (elsewhere or windowed or live):
        raise click.UsageError("--performance-schema has no --since and --until (but --for), and no other source.")
    if live:
        if form or subject or elsewhere or windowed:
            raise click.UsageError("--live shows shapes as they are now: it goes with RULES and --limit alone.")
        from proxy.cli.live import watch

        try:
            uvloop.run(watch(rules, limit or None))
        except KeyboardInterrupt:
            ctx.exit(0)
        return
    if dsn:
        from proxy.cli.asking import ask, parse_dsn
        from proxy.cli.sources import duration

        try:
            found = uvloop.run(ask(parse_dsn(dsn), duration(for_) if for_ else None))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    else:
        if not (words["slow_logs"] or words["general_logs"] or windowed):
            words["since"] = DEFAULT_WINDOW
        found = measured(_asked(rules, words))
    show(found, subject, order, limit or None, form or "text")


@main.command()
@_rules_or_default
@_of_measurements
@click.option(
    "--cores",
    multiple=True,
    metavar="[CLUSTER=]N,..",
    help="Of servers: `16`, `main=16`, `main=16,media=8`, or several times; default: the rules'.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the lines for RULES.")
def advise(rules: Path, cores: tuple[str, ...], as_json: bool, **words: Any) -> None:
    """Say what to scale next, how, and what to leave alone.

    From the history that RULES names (the last week, unless told), or from a server's slow log.
    """
    from proxy.cli.advise import parsed_cores, run

    if words["general_logs"]:
        raise click.UsageError("A general log does not say how long statements took: advice needs a slow log.")
    if not (words["slow_logs"] or words["since"] or words["until"]):
        words["since"] = ADVICE_WINDOW
    try:
        by_cluster, every = parsed_cores(cores)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    run(_asked(rules, words), by_cluster, every, as_json)


@main.command()
@click.argument("new_rules", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--of",
    "rules",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The rules whose history it is about; default: that of NEW_RULES.",
)
@_of_measurements
@click.option("--catalog-from-servers", is_flag=True, help="Read the tables' columns and keys from the servers.")
@click.option(
    "--fail-on",
    type=click.Choice(["refused", "depends", "workbench", "several", "never"]),
    default="refused",
    show_default=True,
    help="Exit with 1 where a shape is this, or worse.",
)
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, help="Shapes explained; 0: all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every shape.")
@click.pass_context
def rehearse(
    ctx: click.Context,
    /,
    new_rules: Path,
    rules: Path | None,
    catalog_from_servers: bool,
    fail_on: str,
    limit: int,
    as_json: bool,
    **words: Any,
) -> None:
    """Show what NEW_RULES would do to recorded statements.

    Those of the history, or of a server's logs; exit code 1 when some would be refused.
    """
    from proxy.cli.rehearse import run

    logging.getLogger("turnout").setLevel(logging.CRITICAL)
    asked = _asked(rules or new_rules, words)
    ctx.exit(run(new_rules, asked, fail_on, catalog_from_servers, limit or None, as_json))


@main.command()
def schema() -> None:
    """Print the JSON Schema of the rules file."""
    from proxy.rules.schema import text

    click.echo(text(), nl=False)


if __name__ == "__main__":
    main()
