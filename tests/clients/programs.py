"""Clients that are programs of their own: installed from their lock files, built, and run with JSON in and out.

`python -m tests.clients.programs` installs and builds what tests would otherwise do when they first need it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.clients import scenario
from tests.clients.jobs import Job
from tests.clients.scenario import Seen
from tests.clients.target import Target

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).parent
NODE, GO, JAVA = FOLDER / "node", FOLDER / "go", FOLDER / "java"
BUILD = FOLDER / "build"
INSTALL_S = 100
RUN_S = 100


class Unavailable(Exception):
    """A client cannot be had on this machine; the text says why."""


def prepare_all() -> None:
    """Installs and builds what the clients need, for scripts/setup.sh; says on standard error what cannot be had."""
    for name, prepare in {"node": install_node, "go": build_go, "java": build_java}.items():
        try:
            prepare()
        except Unavailable as error:
            print(f"setup: {name}'s drivers cannot be tested: {error}", file=sys.stderr)


def install_node() -> list[str]:
    """The command line of node's client; its packages are installed beside it when they are not those of the lock file.

    Raises Unavailable.
    """
    need("node", "npm")
    with _made(NODE / "node_modules", NODE / "package-lock.json") as wanted:
        if wanted:
            _install(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], NODE)
    return ["node", str(NODE / "client.js")]


def build_go() -> list[str]:
    """The command line of Go's client. Raises Unavailable."""
    need("go")
    folder = BUILD / "go"
    program = folder / "client"
    with _made(folder, GO / "go.mod", GO / "go.sum", GO / "main.go") as wanted:
        if wanted:
            _install(["go", "mod", "download"], GO)
            _build(["go", "build", "-o", str(program), "."], GO)
    return [str(program)]


def build_java() -> list[str]:
    """The command line of Java's client: its drivers come from Maven. Raises Unavailable."""
    need("javac", "mvn")
    folder = BUILD / "java"
    pom, source = JAVA / "pom.xml", JAVA / "Client.java"
    classes = os.pathsep.join((str(folder / "classes"), str(folder / "lib" / "*")))
    with _made(folder, pom, source) as wanted:
        if wanted:
            argv = ["mvn", "--batch-mode", "--quiet", "dependency:copy-dependencies"]
            _install([*argv, f"-DoutputDirectory={folder / 'lib'}", "-Dmdep.overWriteReleases=true"], JAVA)
            _build(["javac", "-cp", classes, "-d", str(folder / "classes"), str(source)], JAVA)
    # What is compiled by its first compiler alone starts sooner, and runs long enough to gain nothing from the second.
    return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-cp", classes, "Client"]


def find_php() -> list[str]:
    """The command line of PHP's client. Raises Unavailable."""
    need("php")
    _probe(["php", "-r", "exit(extension_loaded('mysqli') && extension_loaded('pdo_mysql') ? 0 : 1);"], "php-mysql")
    return ["php", "-d", "memory_limit=1G", "-d", "mysqli.allow_local_infile=1", str(FOLDER / "php" / "client.php")]


def find_perl(driver: str) -> list[str]:
    """The command line of Perl's client with a driver of DBI's, e.g. `mysql`. Raises Unavailable."""
    need("perl")
    _probe(["perl", f"-MDBD::{driver}", "-e", "1"], f"DBD::{driver}")
    return ["perl", str(FOLDER / "perl" / "client.pl")]


def find_ruby() -> list[str]:
    """The command line of Ruby's client. Raises Unavailable."""
    need("ruby")
    _probe(["ruby", "-rmysql2", "-e", "0"], "Ruby's mysql2")
    return ["ruby", str(FOLDER / "ruby" / "client.rb")]


def find_connector_c() -> list[str]:
    """The command line of MySQL Connector/Python with its C extension. Raises Unavailable."""
    probe = "import _mysql_connector, mysql.connector, sys; sys.exit(not mysql.connector.HAVE_CEXT)"
    tried = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    if tried.returncode:
        why = tried.stderr.strip().splitlines()[-1:] or ["the connector does without it"]
        raise Unavailable(f"the C extension of mysql-connector-python cannot be used: {why[0]}")
    return [sys.executable, "-m", "tests.clients.connector_c"]


def run(argv: Sequence[str], mode: str, jobs: Sequence[Job]) -> list[Seen]:
    """What a client saw of each job. All of them are one run of its program."""
    return _run(argv, mode, [job.as_json() for job in jobs])


def ask(argv: Sequence[str], mode: str, target: Target, asked: Sequence[tuple[str, Sequence[object]]]) -> object:
    """What a client sees of each statement with its values: rows, the number of rows affected, or the error."""
    questions = [{"statement": statement, "values": list(values)} for statement, values in asked]
    job = Job("ask", target, target).as_json()
    (seen,) = _run(argv, mode, [{**job, "asked": questions}])
    assert "answers" in seen, seen
    return seen["answers"]


def _run(argv: Sequence[str], mode: str, jobs: Sequence[dict[str, object]]) -> list[Seen]:
    with tempfile.NamedTemporaryFile(prefix="turnout-big-") as big:
        big.write(scenario.BIG)
        big.flush()
        given = json.dumps({"mode": mode, "jobs": jobs, "scenario": scenario.as_json(Path(big.name))})
        done = subprocess.run(argv, input=given, cwd=ROOT, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stderr
    seen: list[Seen] = json.loads(done.stdout)
    assert len(seen) == len(jobs)
    return seen


def need(*programs: str) -> None:
    """Raises Unavailable unless they are all installed."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        raise Unavailable(f"not installed: {', '.join(missing)}")


@contextmanager
def _made(folder: Path, *sources: Path) -> Iterator[bool]:
    """Whether `folder` has to be made (again) from these files. What is made there inside the `with` is up to date.

    Tests run in several processes: others wait meanwhile.
    """
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    stamp = folder / ".made-of"
    BUILD.mkdir(exist_ok=True)
    with (BUILD / f"{folder.name}.lock").open("w") as locked:  # not one of the sources: Go locks go.mod itself
        fcntl.flock(locked, fcntl.LOCK_EX)
        wanted = not stamp.exists() or stamp.read_text() != digest
        yield wanted
        if wanted:
            folder.mkdir(parents=True, exist_ok=True)
            stamp.write_text(digest)


def _probe(argv: Sequence[str], what: str) -> None:
    tried = subprocess.run(argv, capture_output=True, text=True, check=False)
    if tried.returncode:
        raise Unavailable(f"{what} is not installed: {tried.stderr.strip()[-200:]}")


def _build(argv: Sequence[str], folder: Path) -> None:
    built = subprocess.run(argv, cwd=folder, env=_environment(), capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr


def _install(argv: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            argv, cwd=folder, env=_environment(), capture_output=True, text=True, check=False, timeout=INSTALL_S
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"`{' '.join(argv)}` took longer than {INSTALL_S} s") from error
    if done.returncode:
        raise Unavailable(f"`{' '.join(argv)}` failed: {done.stderr.strip()[-400:]}")


def _environment() -> dict[str, str]:
    return {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}


if __name__ == "__main__":
    prepare_all()
