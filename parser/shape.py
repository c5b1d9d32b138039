"""Statement bytes -> shape and literals, in one pass of a regular expression: the key of the plan cache.

A *shape* is the statement with the contents of its literals and comments lifted out; `HOLE` (a NUL byte) stands where
each was. Quotes and comment marks stay, so that `id=5` and `id='5'` have different shapes (`id=\\0` and `id='\\0'`)
and a shape can be read again without its literals. Shape and literals together give back the exact bytes.

The rules are those of MySQL's own lexer (sql/sql_lex.cc, MYSQLlex and get_text; MariaDB's is the same here):

- `1abc`, `t1`, `t.1` and `@1` hold identifiers, `1e5`, `0x1F`, `.5` are numbers; `0X1F` is an identifier.
- `--` starts a comment only before white space or a control character.
- `/*! code */` and `/*!40101 code */` are code. A version that not every server satisfies (from 5.6 on, and `/*M!`) is
  accepted only where reading the contents as code or as a comment finds the same end of it.
- `/*+ hint */` and `/* turnout: hint */` stay in the shape, as do quoted identifiers and the `x` of `@'x'`.
- In gbk, big5, sjis, cp932 and gb18030 the second byte of a character may be a quote, backtick or backslash; characters
  are read whole. After a backslash one *byte* is skipped, as the server does.

Whatever cannot be told for certain (an unterminated string or comment, a NUL outside of literals, a cut character in an
identifier, a number glued to a quote) gives an *opaque* shape: `OPAQUE` and the whole text, no literals.
"""

from __future__ import annotations

import enum
import functools
import re
from typing import Final

from parser.atomic import atomic

HOLE: Final = b"\0"
OPAQUE: Final = b"\0\0"  # two holes never touch: numbers are not glued to numbers, other holes have marks around them


class HoleKind(enum.Enum):
    NUMBER = "number"
    STRING = "string"
    COMMENT = "comment"


# (lead byte, what completes the character) as regular expressions; my_ismbchar of strings/ctype-*.cc
_MULTI_BYTE: dict[str, tuple[bytes, bytes]] = {
    "gbk": (rb"\x81-\xfe", rb"[\x40-\x7e\x80-\xfe]"),
    "big5": (rb"\xa1-\xf9", rb"[\x40-\x7e\xa1-\xfe]"),
    "sjis": (rb"\x81-\x9f\xe0-\xfc", rb"[\x40-\x7e\x80-\xfc]"),
    "cp932": (rb"\x81-\x9f\xe0-\xfc", rb"[\x40-\x7e\x80-\xfc]"),
    "gb18030": (rb"\x81-\xfe", rb"(?:[0-9][\x81-\xfe][0-9]|[\x40-\x7e\x80-\xfe])"),
}
_HIGH_BYTES_ARE_LETTERS: Final = frozenset({"utf8", "utf8mb3", "utf8mb4", "ascii", "binary"})
_NOT_CLIENT_CHARSETS: Final = frozenset({"ucs2", "utf16", "utf16le", "utf32"})


def _complement(characters: bytes) -> bytes:
    """The class of all other bytes, as ranges: `re` matches those by a bitmap, a short negated class byte by byte."""
    inside = re.compile(rb"[" + characters + rb"]")
    others = [b for b in range(256) if not inside.match(bytes((b,)))]
    starts = [b for b in others if b - 1 not in others]
    ends = [b for b in others if b + 1 not in others]
    return b"".join(b"\\x%02x-\\x%02x" % pair for pair in zip(starts, ends))


def _grammar(ansi_quotes: bool, no_backslash_escapes: bool, charset: str) -> bytes:
    """The one regular expression. Each match is (text up to and with a literal's opening mark, the literal's content).

    It is applied to the statement with a NUL behind it. The last match has no content; where no literal can be read,
    the last alternative takes the rest with neither text nor content. Everything that repeats is possessive, so the
    time is linear. A match that begins with a quote begins with the closing quote of the previous literal.
    """
    multi_byte = _MULTI_BYTE.get(charset)
    letters = charset in _HIGH_BYTES_ARE_LETTERS
    lead = multi_byte[0] if multi_byte else b""
    word = rb"[\w$\x80-\xff]"
    # Is a high byte behind `--` white space, or behind digits part of a name? Only where that is certain.
    doubtful = b"" if letters else rb"\x80-\xff"
    starts_word = rb"[A-Za-z_$\x80-\xff]" if letters else rb"[A-Za-z_$]"

    def body(stop: bytes, escapes: bool, strict: bool, then: bytes, never: bytes = b"") -> bytes:
        stops = stop + lead + (rb"\\" if escapes else never) + (rb"\0" if strict else b"")
        plain = rb"[" + _complement(stops) + rb"]++"
        options = [plain]
        if escapes:
            options.append(rb"\\.")
        options.append(stop + stop)
        if multi_byte:
            options.append(rb"[" + lead + rb"]" + multi_byte[1] + (b"" if strict else b"?+"))
        return rb"(?:" + b"|".join(options) + rb")*+" + then

    def quoted(quote: bytes) -> bytes:
        return quote + body(quote, False, True, quote)

    # An alternative that begins with a literal or class is skipped by its first byte: hence `x(?<=yx)`, not `(?<=y)x`.
    exponent = rb"[eE][+-]?[0-9]++"
    hex_or_bits = rb"(?:x[0-9a-fA-F]++|b[01]++)(?!" + word + rb")"
    line_comment = rb"--[\x01-\x09\x0b-\x20\x7f]"
    certain = rb"(?:[0-4][0-9]{4}|50[0-5][0-9]{2})(?![0-9])"  # versions before 5.6: every server takes it as code
    same_end = (
        rb"(?=(?:[^'\"`#/*\\\x80-\xff\0-]|-(?!-)|\*(?!/)|/(?!\*)|'[^'\\*\x80-\xff\0]*+'|\"[^\"\\*\x80-\xff\0]*+\""
        rb"|`[^`*\x80-\xff\0]*+`)*+\*/(?!\*))"
    )
    in_names = b"" if no_backslash_escapes else rb"\\"  # `@'a\'b'`: a name that the server unescapes
    before_dot = rb"[\w$@`\x80-\xff" + (rb"\"" if ansi_quotes else b"") + rb"]"
    texts = [
        rb"[^'\"`0-9.\-#/\0" + lead + rb"]++",
        rb"[0-9](?<=[\w$@\x80-\xff].)[0-9]*+",
        rb"\.(?:(?![0-9])|(?<=" + before_dot + rb".)" + word + rb"++)",
        quoted(rb"`"),
        rb"[0-9]++(?=" + starts_word + rb")(?![eE][+-]?[0-9])(?!(?<=0)(?<![0-9]0)" + hex_or_bits + rb")[\w$]*+",
        rb"-(?!-[\x00-\x20\x7f" + doubtful + rb"])|--(?=[\n\0])",
        rb"/(?!\*)",
        rb"'(?<=@')" + body(rb"'", False, True, rb"'", never=in_names),
        rb"/\*(?<!\*/\*)(?:\+(?:[^*\0]++|\*(?!/))*+\*/|\s*+(?i:turnout):(?:[^*\0]++|\*(?!/))*+\*/"
        rb"|!(?:(?![0-9]{5})|" + certain + rb"|[0-9]{5,6}" + same_end + rb")|M!(?:[0-9]{5,6})?" + same_end + rb")",
    ]
    openers = [
        rb"'(?!\0\Z)(?<!@')",
        rb"(?=\.?[0-9])(?<![.'\"`])",
        rb"(?=\0\Z)",
        rb"\#",
        line_comment,
        rb"/\*(?<!\*/\*)(?![+!]|M!|\s*+(?i:turnout):|\0\Z)",
    ]
    escapes = not no_backslash_escapes
    contents = [
        rb"[0-9](?<=[,(=].)[0-9]*+(?![\w$\x80-\xff.'\"`*])",  # most numbers, sooner
        rb"(?<=')" + body(rb"'", escapes, False, rb"(?=')"),
        rb"(?<=\#)[^\n\0]*+",
        rb"(?<=/\*)(?:[^*]++|\*(?!/))*+(?=\*/)",
        rb"(?<=" + line_comment + rb")[^\n\0]*+",
        rb"(?<!['\"])(?:(?<!/\*)|(?<=\*/\*))(?:[0-9]++(?:(?!"
        + word
        + rb"|\.)|\.[0-9]*+(?:"
        + exponent
        + rb"|(?![eE]))|"
        + exponent
        + rb")|0"
        + hex_or_bits
        + rb"|\.[0-9]++(?:"
        + exponent
        + rb"|(?![eE])))(?![.0-9'\"`]|\*/\*)",
    ]
    if ansi_quotes:
        texts.append(quoted(rb"\""))
    else:
        texts.append(rb"\"(?<=@\")" + body(rb"\"", False, True, rb"\"", never=in_names))
        openers.insert(1, rb"\"(?!\0\Z)(?<!@\")")
        contents.insert(2, rb"(?<=\")" + body(rb"\"", escapes, False, rb"(?=\")"))
    if multi_byte:
        texts.append(rb"[" + lead + rb"]" + multi_byte[1] + rb"[\w$]*+")
    closer = rb"(?>(?!\A)'|\*/|)" if ansi_quotes else rb"(?>(?!\A)['\"]|\*/|)"
    return (
        rb"(" + closer + rb"(?:" + b"|".join(texts) + rb")*+(?:" + b"|".join(openers) + rb"))"
        rb"(?:\0\Z|(" + b"|".join(contents) + rb"))|.++"
    )


class Lexer:
    """Takes statements apart and puts them together again, for one setting of sql_mode and character_set_client."""

    __slots__ = ("_split", "ansi_quotes", "charset", "no_backslash_escapes")

    def __init__(self, ansi_quotes: bool, no_backslash_escapes: bool, charset: str) -> None:
        self.ansi_quotes = ansi_quotes
        self.no_backslash_escapes = no_backslash_escapes
        self.charset = charset
        self._split = re.compile(atomic(_grammar(ansi_quotes, no_backslash_escapes, charset)), re.DOTALL).split

    def shape(self, sql: bytes) -> tuple[bytes, list[bytes]]:
        """(shape, contents of its holes in order)."""
        parts = self._split(sql + HOLE)  # "", text, content, "", text, content, ..., "", last text, None, ""
        texts = parts[1::3]
        if texts[-1] is None:
            return OPAQUE + sql, []
        return HOLE.join(texts), parts[2:-2:3]

    @staticmethod
    def restore(shape: bytes, literals: list[bytes]) -> bytes:
        """The statement's bytes. Raises ValueError when the number of literals is not the number of holes."""
        if is_opaque(shape):
            if literals:
                raise ValueError("an opaque shape has no holes")
            return shape[len(OPAQUE) :]
        texts = shape.split(HOLE)
        if len(texts) != len(literals) + 1:
            raise ValueError(f"{len(literals)} literals for {len(texts) - 1} holes")
        parts = [b""] * (2 * len(texts) - 1)
        parts[::2] = texts
        parts[1::2] = literals
        return b"".join(parts)


@functools.lru_cache(maxsize=256)
def lexer(ansi_quotes: bool = False, no_backslash_escapes: bool = False, charset: str = "utf8mb4") -> Lexer:
    """The lexer for one setting. Raises ValueError for a charset that cannot be a client's (utf16, ..)."""
    if charset.lower() in _NOT_CLIENT_CHARSETS:
        raise ValueError(f"{charset} cannot be character_set_client")
    return Lexer(ansi_quotes, no_backslash_escapes, charset.lower())


def is_opaque(shape: bytes) -> bool:
    """Is this the whole text of a statement that could not be taken apart?"""
    return shape.startswith(OPAQUE)


_HOLE_IN_CONTEXT: Final = re.compile(rb"(?:(['\"])|(\#|(?<!\*)/\*|--[\x01-\x09\x0b-\x20\x7f])|)\0", re.DOTALL)


def hole_kinds(shape: bytes) -> list[HoleKind]:
    """The kind of every hole, by the mark before it."""
    if is_opaque(shape):
        return []
    return [
        HoleKind.STRING if quote else HoleKind.COMMENT if comment else HoleKind.NUMBER
        for quote, comment in _HOLE_IN_CONTEXT.findall(shape)
    ]
