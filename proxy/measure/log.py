"""Structured logs on stderr: one line an event, JSON or key=value, through the standard `logging` module.

    log = logging.getLogger("turnout.health")
    log.error("server down", extra={"server": where, "reason": reason})

Everything in `extra` becomes a field. A log holds no literals and no credentials: statements appear by the id of their
shape, and of an unexpected exception only its type and where it was raised are written (its text may quote data),
except at level debug. The exceptions whose texts are ours or the operating system's are written whole.
"""

from __future__ import annotations

import datetime
import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping

from proxy.errors import Defect, RulesError

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("auto", "json", "text")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PLAIN = re.compile(r"[^\s\"=]+\Z")
_SAFE_TEXT = (OSError, RulesError, Defect)

slow_log = logging.getLogger("turnout.slow")


def configure(level: str = "info", form: str = "auto", common: Mapping[str, object] | None = None) -> None:
    """Send all logs of this process to stderr. `common` fields (the worker's slot) are on every line."""
    if form == "auto":
        form = "text" if sys.stderr.isatty() else "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(form == "json", common or {}, verbose=level == "debug"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("aiohttp.access", "asyncio"):  # chatty below these levels, and of no use to an operator
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def add_common(**fields: object) -> None:
    """Put these fields on every line of this process from now on."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, LineFormatter):
            handler.formatter.common.update(fields)


def slow_statement(
    shape_id: str, digest: str, plan: str, total_ns: int, server_ns: int, rows: int, session: int, errno: int = 0
) -> None:
    """A statement took longer than `limits.slow_statement_s`: which shape, never which values."""
    slow_log.warning(
        "slow statement",
        extra={
            "shape_id": shape_id,
            "plan": plan,
            "total_ms": round(total_ns / 1e6, 3),
            "server_ms": round(server_ns / 1e6, 3),
            "rows": rows,
            "session": session,
            "errno": errno,
            "shape": digest[:500],
        },
    )


class LineFormatter(logging.Formatter):
    """One record, one line."""

    def __init__(self, as_json: bool, common: Mapping[str, object], verbose: bool = False) -> None:
        super().__init__()
        self._json = as_json
        self.common = dict(common)
        self._verbose = verbose

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "from": record.name,
            "event": record.getMessage(),
            **self.common,
        }
        fields.update({k: v for k, v in vars(record).items() if k not in _STANDARD})
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = describe(record.exc_info[1], self._verbose)
            fields["raised"] = places(record.exc_info[1])
        if self._json:
            return json.dumps(fields, ensure_ascii=False, default=str)
        return " ".join(f"{k}={_quoted(v)}" for k, v in fields.items())


def describe(error: BaseException, verbose: bool = False) -> str:
    """The exception's type, and its text where that cannot quote a client's data."""
    name = type(error).__qualname__
    return f"{name}: {error}" if verbose or isinstance(error, _SAFE_TEXT) else name


def places(error: BaseException) -> str:
    """Where it was raised, outermost first: `file:line function`, of the causes too."""
    frames = [
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for one in _chain(error)
        for frame in traceback.extract_tb(one.__traceback__)
    ]
    return " > ".join(frames)


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (cause := chain[0].__cause__) is not None and cause not in chain:
        chain.insert(0, cause)
    return chain


def _quoted(value: object) -> str:
    text = str(value)
    return text if _PLAIN.match(text) else json.dumps(text, ensure_ascii=False)
