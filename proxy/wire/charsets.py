"""Collation ids -> character sets, collation names and Python's codecs.

Where MariaDB and MySQL name the same id differently (five Croatian collations), names are MariaDB's unless asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proxy.wire import collations

UTF8MB4: Final = 45  # utf8mb4_general_ci: the one that every version of both servers has
BINARY: Final = 63


@dataclass(frozen=True, slots=True)
class Collation:
    id: int
    name: str
    charset: str


# None: Python has no codec; such text can be passed on, but not understood. "latin1" is what MySQL documents as
# cp1252; the five bytes that cp1252 leaves undefined do not decode.
_CODECS: Final[dict[str, str | None]] = {
    "armscii8": None,
    "ascii": "ascii",
    "big5": "big5",
    "binary": None,
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1256": "cp1256",
    "cp1257": "cp1257",
    "cp850": "cp850",
    "cp852": "cp852",
    "cp866": "cp866",
    "cp932": "cp932",
    "dec8": None,
    "eucjpms": "euc_jp",
    "euckr": "euc_kr",
    "gb18030": "gb18030",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "geostd8": None,
    "greek": "iso8859_7",
    "hebrew": "iso8859_8",
    "hp8": "hp_roman8",
    "keybcs2": None,
    "koi8r": "koi8_r",
    "koi8u": "koi8_u",
    "latin1": "cp1252",
    "latin2": "iso8859_2",
    "latin5": "iso8859_9",
    "latin7": "iso8859_13",
    "macce": "mac_latin2",
    "macroman": "mac_roman",
    "sjis": "shift_jis",
    "swe7": None,
    "tis620": "tis_620",
    "ucs2": "utf_16_be",
    "ujis": "euc_jp",
    "utf16": "utf_16_be",
    "utf16le": "utf_16_le",
    "utf32": "utf_32_be",
    "utf8mb3": "utf_8",
    "utf8mb4": "utf_8",
}

# "Impermissible Client Character Sets" in MySQL's manual: they are not supersets of ASCII.
_NOT_FOR_CLIENTS: Final = frozenset({"ucs2", "utf16", "utf16le", "utf32"})


def _read_table() -> dict[int, Collation]:
    by_id: dict[int, Collation] = {}
    charset = ""
    for word in collations.NUMBERED.split():
        number, colon, rest = word.partition(":")
        if not number.isdigit():
            charset = word
        else:
            by_id[int(number)] = Collation(int(number), f"{charset}_{rest}" if colon else charset, charset)
    return by_id


def _uca1400() -> dict[int, Collation]:
    by_id: dict[int, Collation] = {}
    for set_number, charset in enumerate(collations.UCA1400_CHARSETS):
        for language_number, language in enumerate(collations.UCA1400_LANGUAGES.split("|")):
            if language == "-":
                continue
            for bits in range(8):
                number = 2048 + (set_number << 8) + (language_number << 3) + bits
                words = [charset, "uca1400", language, "nopad" if bits & 4 else ""]
                words += ["as" if bits & 2 else "ai", "cs" if bits & 1 else "ci"]
                by_id[number] = Collation(number, "_".join(word for word in words if word), charset)
    return by_id


_BY_ID: Final = _read_table() | _uca1400()
_BY_NAME: Final = {collation.name: collation for collation in _BY_ID.values()}
_MYSQL_BY_ID: Final = {
    number: Collation(number, name, name.split("_")[0]) for number, name in collations.MYSQL_NAMES.items()
}
_MYSQL_BY_NAME: Final = {collation.name: collation for collation in _MYSQL_BY_ID.values()}


def collation(number: int, *, mysql: bool = False) -> Collation | None:
    """The collation with this id; `mysql`: under the name that MySQL gives it."""
    return (_MYSQL_BY_ID.get(number) if mysql else None) or _BY_ID.get(number)


def collation_named(name: str, *, mysql: bool = False) -> Collation | None:
    """The collation with this name, in any case; `utf8_...` is read as `utf8mb3_...`."""
    folded = name.lower()
    if folded.startswith("utf8_"):
        folded = "utf8mb3_" + folded[5:]
    return (_MYSQL_BY_NAME.get(folded) if mysql else None) or _BY_NAME.get(folded)


def charset_named(name: str) -> str | None:
    """The character set's own name, whatever the case or the alias `utf8`; None when there is no such set."""
    folded = name.lower()
    folded = "utf8mb3" if folded == "utf8" else folded
    return folded if folded in _CODECS else None


def default_collation(charset: str) -> Collation | None:
    """The character set's default collation (of MariaDB 10.11; MySQL 8's default of utf8mb4 is id 255)."""
    number = collations.DEFAULTS.get(charset_named(charset) or "")
    return None if number is None else _BY_ID[number]


def codec(charset: str) -> str | None:
    """The name of Python's codec for the character set; None when there is none."""
    return _CODECS.get(charset_named(charset) or "")


def client_charset_allowed(charset: str) -> bool:
    """Whether a client may speak this character set (`character_set_client`)."""
    known = charset_named(charset)
    return known is not None and known not in _NOT_FOR_CLIENTS


def handshake_id(number: int) -> int:
    """The id to send in a handshake's single byte for this collation.

    Ids over 255 do not fit: their low byte would be some other collation. The default collation of the same character
    set stands in; whoever needs the exact one sets `collation_connection` after login.
    """
    if 0 < number < 256:
        return number
    known = _BY_ID.get(number)
    return UTF8MB4 if known is None else collations.DEFAULTS[known.charset]
