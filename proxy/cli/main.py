"""The command `turnout`. Exit codes: 0 done, 1 a problem that is printed, 2 wrong usage, 3 stopped by force.

Commands import what they need when they run: `turnout status` should not wait for an SQL parser to load.
"""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path

import click
import uvloop

from proxy.cli import console
from proxy.cli.version import version
from proxy.errors import TurnoutError
from proxy.measure import log as logs
from proxy.rules.problem import RulesInvalid

DEFAULT_RULES = "routing_rules.yaml"
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
    from proxy.cli.streams import STREAM_COMMAND
    from proxy.cli.supervisor import WORKER_COMMAND, Supervisor

    logs.configure(log_level, log_format)
    path = rules.absolute()
    logging = ("--log-level", log_level, "--log-format", log_format)

    async def run() -> int:
        return await Supervisor(path, (*WORKER_COMMAND, *logging), (*STREAM_COMMAND, *logging)).run()

    ctx.exit(uvloop.run(run()))


@main.command()
@_rules
@click.option("--against", type=click.Path(path_type=Path, dir_okay=False), help="Say what a change from it would do.")
@click.option("--no-servers", is_flag=True, help="Look at the file only; do not ask the servers about tables and keys.")
@click.pass_context
def check(ctx: click.Context, rules: Path, against: Path | None, no_servers: bool) -> None:
    """Report all that is wrong or doubtful with RULES.

    With its line and what to write instead; the servers are asked about tables and shard keys.
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

    WHAT is a table of SHOW TURNOUT: clusters, shapes, sessions, tables, rules, workers or status, also with "limit N".
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


@main.command()
def schema() -> None:
    """Print the JSON Schema of the rules file."""
    from proxy.rules.schema import text

    click.echo(text(), nl=False)


if __name__ == "__main__":
    main()
