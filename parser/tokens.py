"""A shape as tokens: for the statements that sqlglot is not asked about, and to prepare the text of those it is.

Tokens are of the shape's text, decoded by the client's charset. Comments are dropped, `/* turnout: .. */` kept apart,
the contents of `/*! .. */` are tokens like others.
"""

from __future__ import annotations

import bisect
import enum
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from parser.members import quick
from parser.shape import Lexer

# Python's codecs for MySQL's charsets. Every other charset is read byte by byte: then only ASCII names are certain.
_CODECS = {
    "utf8": "utf-8",
    "utf8mb3": "utf-8",
    "utf8mb4": "utf-8",
    "latin1": "cp1252",
    "latin2": "iso8859-2",
    "latin5": "iso8859-9",
    "latin7": "iso8859-13",
    "greek": "iso8859-7",
    "hebrew": "iso8859-8",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1256": "cp1256",
    "cp1257": "cp1257",
    "cp850": "cp850",
    "cp852": "cp852",
    "cp866": "cp866",
    "koi8r": "koi8-r",
    "koi8u": "koi8-u",
    "tis620": "tis-620",
    "gbk": "gbk",
    "gb2312": "gb2312",
    "gb18030": "gb18030",
    "big5": "big5",
    "sjis": "shift_jis",
    "cp932": "cp932",
    "euckr": "euc_kr",
    "ujis": "euc_jp",
    "eucjpms": "euc_jp",
}


@quick
class Of(enum.Enum):
    """What a token is."""

    WORD = "word"  # a keyword or an unquoted identifier
    QUOTED = "quoted"  # a quoted identifier; `text` is the name without quotes
    NUMBER = "number"  # a hole
    STRING = "string"  # a hole; `text` is the opening quote, behind the prefix (n, x, b) if it has one
    PARAM = "param"  # `?`; `hole` is its number among the params
    VARIABLE = "variable"  # @x, `text` is "@x"; @@x and @@session.x, `text` is the whole in lower case
    MARK = "mark"  # everything else


WORD, QUOTED, MARK = Of.WORD, Of.QUOTED, Of.MARK  # quicker to name: most tokens are looked at a dozen times


class Token(NamedTuple):
    of: Of
    text: str
    start: int
    end: int
    hole: int = -1
    word: str = ""  # the keyword it may be, in upper case; empty for all that is not an unquoted word
    mark: str = ""  # `text` of what is neither a name, nor a literal, nor a variable; empty for all else

    @classmethod
    def made(cls, of: Of, text: str) -> Token:
        """A token that stands nowhere in the statement."""
        return cls(of, text, -1, -2, -1, text.upper() if of is WORD else "", text if of is MARK else "")

    def is_name(self) -> bool:
        return self.of is WORD or self.of is QUOTED

    def is_mark(self, text: str) -> bool:
        return self.mark == text


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a shape, the text inside `/* turnout: .. */`, and what stands in the way of trusting them."""

    tokens: list[Token]
    hints: list[str]
    holes: int
    params: int
    doubt: str = ""  # not empty: no meaning may be read from the tokens, except which words there are


# Letters, digits, `_`, `$` and all beyond ASCII, by what it is not: `re` takes 8 ms more to compile the other form.
_NAME = r"[^\x00-#%-/:-@\[-\^`{-\x7f]"
_NAME_OR_DOT = r"[^\x00-#%-\-/:-@\[-\^`{-\x7f]"


@lru_cache(maxsize=2)
def _pattern(ansi_quotes: bool) -> re.Pattern[str]:
    quoted_name = r"`(?:[^`]|``)*`" + (r"|\"(?:[^\"]|\"\")*\"" if ansi_quotes else "")
    quote = r"'" if ansi_quotes else r"['\"]"
    return re.compile(
        r"[ \t\n\v\f\r]*+(?:"
        rf"(?P<string>[nNxXbB]?(?P<quote>{quote})\0(?P=quote))"
        rf"|(?P<word>{_NAME}+)"
        r"|(?P<number>\0)"
        rf"|(?P<quoted>{quoted_name})"
        rf"|(?P<variable>@@(?:{_NAME}+(?:\s*\.\s*(?:{_NAME}+|`[^`]*`))*|`[^`]*`)|@(?:{_NAME_OR_DOT}+"
        r"|`(?:[^`]|``)*`|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"))"
        r"|(?P<comment>/\*\0\*/|(?:--[\x01-\x09\x0b-\x20\x7f]|\#)\0?|--(?=\n|\Z))"
        r"|/\*\s*(?i:turnout):(?P<hint>(?:[^*]|\*(?!/))*)\*/"
        r"|(?P<optimizer>/\*\+(?:[^*]|\*(?!/))*\*/)"
        r"|(?P<code>/\*M?!(?:[0-9]{5,6})?)"
        r"|(?P<end>\*/)"
        r"|(?P<param>\?)"
        r"|(?P<mark><=>|<=|>=|<>|!=|:=|\|\||&&|<<|>>|->>|->|.)"
        r"|\Z)",
        re.DOTALL,
    )


_pattern(False)  # here rather than for a worker's first statement

_CERTAIN_VERSION = 50600  # every server in use takes /*!50599 .. */ as code


def read(
    text: str, ansi_quotes: bool, start: int = 0, end: int | None = None, holes: int = 0, params: int = 0
) -> Tokens:
    """The tokens of `text[start:end]`, holes and params numbered from the given ones. Never raises."""
    tokens: list[Token] = []
    hints: list[str] = []
    doubt = ""
    add = tokens.append
    new = tuple.__new__  # what Token's own constructor calls, behind a layer that costs as much again
    open_code = 0
    for m in _pattern(ansi_quotes).finditer(text, start, len(text) if end is None else end):
        group = m.lastgroup
        if group is None:  # nothing is left
            continue
        begins, ends = m.span(group)
        if group == "word":
            word = text[begins:ends]
            add(new(Token, (WORD, word, begins, ends, -1, word.upper(), "")))
        elif group == "mark":
            mark = text[begins:ends]
            add(new(Token, (MARK, mark, begins, ends, -1, "", mark)))
        elif group == "number":
            add(new(Token, (Of.NUMBER, "", begins, ends, holes, "", "")))
            holes += 1
        elif group == "string":
            add(Token(Of.STRING, text[begins:ends].partition("\0")[0].lower(), begins, ends, holes))
            holes += 1
        elif group == "quoted":
            quote, name = text[begins], text[begins + 1 : ends - 1]
            if quote in name:
                name = name.replace(quote * 2, quote)
            add(new(Token, (QUOTED, name, begins, ends, -1, "", "")))
        elif group == "variable":
            add(Token(Of.VARIABLE, _variable(text[begins:ends]), begins, ends))
        elif group == "param":
            add(Token(Of.PARAM, "?", begins, ends, params))
            params += 1
        elif group == "comment":
            holes += "\0" in text[begins:ends]
        elif group == "hint":
            hints.append(text[begins:ends])
        elif group == "code":
            opening = text[begins:ends]
            version = opening.lstrip("/*M!")
            if "M" in opening or (version and int(version) >= _CERTAIN_VERSION):
                doubt = "a comment is code on some servers only"
            if open_code:
                doubt = "an executable comment inside another"
            open_code += 1
        elif group == "end":
            open_code -= 1
            if open_code < 0:
                doubt = "*/ without /*"
                open_code = 0
    if open_code:
        doubt = "/*! without */"
    return Tokens(tokens, hints, holes, params, doubt)


def _variable(text: str) -> str:
    if text.startswith("@@"):
        return re.sub(r"[\s`]", "", text).lower()
    name = text[1:]
    if name[0] in "`'\"":
        name = name[1:-1].replace(name[0] * 2, name[0])
    return "@" + name.lower()


def decode(data: bytes, lexer: Lexer) -> str | None:
    """The text, or None when it is not text of the client's charset (and so no name in it can be trusted)."""
    if data.isascii():
        return data.decode("ascii")
    codec = _CODECS.get(lexer.charset)
    if codec is None:
        return data.decode("latin-1")  # ASCII names are right; others only have to stay different from each other
    try:
        text = data.decode(codec)
    except UnicodeDecodeError:
        return None if codec != "cp1252" else data.decode("latin-1")  # five bytes are unassigned in cp1252
    return text if text.encode(codec) == data else None


def same_offset(at: int) -> int:
    """For texts of one byte a character."""
    return at


def to_bytes_offsets(text: str, data: bytes, lexer: Lexer) -> Callable[[int], int]:
    """A function from offsets in `text` to offsets in `data`, of which it is the decoded form."""
    if len(text) == len(data):
        return same_offset
    codec = _CODECS[lexer.charset]
    positions: list[int] = []
    offsets: list[int] = []
    shift = 0
    for m in re.finditer(r"[^\x00-\x7f]+", text):
        positions.append(m.end())
        shift += len(m.group().encode(codec)) - len(m.group())
        offsets.append(shift)

    def offset(at: int) -> int:
        found = bisect.bisect_right(positions, at)
        return at + (offsets[found - 1] if found else 0)

    return offset


def words(tokens: Iterable[Token]) -> frozenset[str]:
    """Every token that may be part of a name, lower case."""
    return frozenset([t.text.lower() for t in tokens if t.of is WORD or t.of is QUOTED])


def words_of_text(data: bytes, lexer: Lexer) -> frozenset[str]:
    """Every word that may be part of a name, however the text has to be read: for texts that cannot be taken apart."""
    found: set[str] = set()
    readings = {data.decode(_CODECS.get(lexer.charset, "latin-1"), "replace"), data.decode("latin-1")}
    for text in readings:
        found.update(re.findall(_NAME + "+", text.lower()))
        for quote in "`\"'":
            parts = text.lower().split(quote)
            found.update(parts)  # whichever quote is the opening one
            found.update(
                p.replace(quote * 2, quote)
                for p in re.findall(f"{quote}((?:[^{quote}]|{quote * 2})*){quote}", text.lower())
            )
    found.discard("")
    return frozenset(found)
