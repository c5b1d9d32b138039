"""Shard keys: the one text that stands for every value which a key column calls equal.

`key_text` has to be *sound*: two values that the server's `=` (or `<=>`, `IN`) on that column calls equal must give the
same text, or None, which means "not modelled": reads then ask every shard, and rows with such a key are refused. It may
be coarser than equality, never finer. `sql_key_expression` (`proxy.plan.sharding`) gives the same texts on a server.

Sources: MySQL 8.4 Reference Manual, 14.3 Type Conversion in Expression Evaluation and 12.10.1 Unicode Character Sets
(PAD SPACE and NO PAD); `tests/plan/test_keys.py` compares the string forms with a real server's.
"""

from __future__ import annotations

import datetime
import enum
import functools
import re
from dataclasses import dataclass

from parser.members import quick
from proxy.back.catalog import Column
from proxy.plan.plan import KeyValue


@quick
class Family(enum.Enum):
    INTEGER = "integer"  # canonical decimal text
    DATE = "date"  # YYYY-MM-DD
    DATETIME = "datetime"  # YYYY-MM-DD HH:MM:SS, with as many digits of a fraction as the column has
    EXACT = "exact string"  # collations under which different characters are different
    FOLDED = "folded string"  # collations that ignore case: printable ASCII, in lower case


@dataclass(frozen=True, slots=True)
class KeyForm:
    """How the values of one key column become texts."""

    family: Family
    low: int = 0  # of INTEGER: the column's range
    high: int = 0
    collation: str = ""  # of strings
    last_character: str = ""  # of EXACT: the greatest character that means the same in literal and column
    strips: bool = False  # trailing spaces do not count
    length: int = 0  # of strings, in characters: longer ones do not fit into the column
    fraction: int = 0  # of DATETIME: digits of a second's

    def compares_with(self, other: KeyForm) -> bool:
        """Do columns of the two forms that the server calls equal have the same text?"""
        return self.family is other.family and self.collation == other.collation and self.fraction == other.fraction


@dataclass(frozen=True, slots=True)
class Unmodelled:
    """A column that cannot be a shard key, and why (a clause that follows the column's name)."""

    why: str


_INTEGER_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "integer": 32, "bigint": 64}
_CANONICAL_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,19}")
_PRINTABLE_ASCII = re.compile(r"[ -~]*")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATETIME = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?: (?P<time>(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])(?:\.(?P<fraction>[0-9]{1,6}))?)?"
)
_EXACT_IN_DOUBLES = 1 << 53  # beyond, a server that compares a number and a string as doubles calls neighbours equal

# Greatest character by charset for which literal and stored character are certainly the same.
_LAST_CHARACTER = {
    "utf8mb4": "\U0010ffff",
    "utf8mb3": "\uffff",
    "utf8": "\uffff",
    "latin1": "\x7f",
    "ascii": "\x7f",
    "binary": "\x7f",
}

_EXACT_COLLATION = re.compile(r"(?:utf8mb4|utf8mb3|utf8|latin1|ascii)(?P<nopad>_nopad|_0900)?_bin|(?P<binary>binary)")
# Collations whose equality on printable ASCII is that of lower-cased text (language-specific ones are not: Danish has
# aa = å, old Swedish v = w, Turkish its own i). The accent- or case-sensitive ones are folded more than they need.
_FOLDED_COLLATION = re.compile(
    r"(?:utf8mb4|utf8mb3|utf8)_(?:general|unicode|unicode_520)(?P<nopad1>_nopad)?_ci"
    r"|utf8mb4(?P<nopad2>_0900)_(?:ai_ci|as_ci|as_cs)"
    r"|(?:utf8mb4|utf8mb3)_uca1400(?P<nopad3>_nopad)?_(?:ai|as)_(?:ci|cs)"
    r"|latin1_(?:swedish|general)(?P<nopad4>_nopad)?_ci|latin1_general_cs|ascii_general(?P<nopad5>_nopad)?_ci"
)


@functools.lru_cache(maxsize=4096)
def key_form(column: Column) -> KeyForm | Unmodelled:
    """How `column`'s values become key texts, or why it cannot be a shard key."""
    if column.generated:
        return Unmodelled("is a generated column, whose value is not in the statement")
    bits = _INTEGER_BITS.get(column.data_type)
    if bits is not None:
        if column.zerofill:
            return Unmodelled("is ZEROFILL, so that its text depends on its display width")
        low, high = (0, (1 << bits) - 1) if column.unsigned else (-(1 << bits - 1), (1 << bits - 1) - 1)
        return KeyForm(Family.INTEGER, low, high)
    if column.data_type == "date":
        return KeyForm(Family.DATE)
    if column.data_type == "datetime":
        return KeyForm(Family.DATETIME, fraction=column.fraction)
    if column.data_type == "timestamp":
        return Unmodelled("is a TIMESTAMP, whose text depends on the session's time zone")
    if column.data_type in ("char", "varchar", "varbinary"):
        return _string_form(column)
    return Unmodelled(f"is of type {column.data_type.upper()}, whose values have no single text")


def _string_form(column: Column) -> KeyForm | Unmodelled:
    charset = column.charset or "binary"
    collation = column.collation or "binary"
    last_character = _LAST_CHARACTER.get(charset)
    exact, folded = _EXACT_COLLATION.fullmatch(collation), _FOLDED_COLLATION.fullmatch(collation)
    found = exact or folded
    if found is None or last_character is None:
        return Unmodelled(f"has the collation {collation}, whose idea of equality Turnout does not model")
    pads = not any(found.groupdict().values())
    return KeyForm(
        Family.EXACT if exact else Family.FOLDED,
        collation=collation.replace("utf8_", "utf8mb3_") if collation.startswith("utf8_") else collation,
        last_character=last_character,
        strips=pads or column.data_type == "char",  # CHAR does not keep trailing spaces
        length=column.length if column.length is not None else 0,
    )


def form_text(form: KeyForm, value: KeyValue, stored: bool = False) -> bytes | None:
    """The text of `value` in a column of this form; None: not modelled, or NULL.

    `stored` is for values that go into the column: they are converted to its type, whereas a number and a string that
    are compared may both be converted to doubles.
    """
    family = form.family
    if family is Family.INTEGER:
        if isinstance(value, str):
            if not _CANONICAL_INTEGER.fullmatch(value):
                return None
            value = int(value)
            if not stored and not -_EXACT_IN_DOUBLES < value < _EXACT_IN_DOUBLES:
                return None
        if not isinstance(value, int) or not form.low <= value <= form.high:
            return None
        return b"%d" % value
    if family is Family.DATE and type(value) is datetime.date:  # no time of day
        return value.isoformat().encode()
    if not isinstance(value, str):
        return None
    if family is Family.DATE:
        return value.encode() if _DATE.fullmatch(value) and _is_calendar_date(value) else None
    if family is Family.DATETIME:
        return _datetime_text(form, value)
    if form.strips:
        value = value.rstrip(" ")
    if len(value) > form.length:
        return None
    if family is Family.FOLDED:
        return value.lower().encode() if _PRINTABLE_ASCII.fullmatch(value) else None
    if value and max(value) > form.last_character:
        return None
    try:
        return value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return None


def _datetime_text(form: KeyForm, value: str) -> bytes | None:
    """A date alone is its midnight. A fraction of more digits than the column has is equal to none of its values, and
    would be rounded, or cut off, where it is stored."""
    found = _DATETIME.fullmatch(value)
    if found is None or not _is_calendar_date(found["date"]):
        return None
    digits = (found["fraction"] or "").rstrip("0")
    if len(digits) > form.fraction:
        return None
    fraction = f".{digits:0<{form.fraction}}" if form.fraction else ""
    return f"{found['date']} {found['time'] or '00:00:00'}{fraction}".encode()


def _is_calendar_date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def key_text(column: Column, value: KeyValue, stored: bool = False) -> bytes | None:
    """The text of `value` as a key in `column`; None: not modelled. See `form_text`."""
    form = key_form(column)
    return None if isinstance(form, Unmodelled) else form_text(form, value, stored)
