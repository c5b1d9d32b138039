"""The lines of a file for LOAD DATA, found exactly where a server finds them, and single fields of theirs.

A server reads field after field, as many as the statement has columns, and then skips to the end of the line without
heed of quotes (sql_load.cc: READ_INFO::read_field, next_line). So whether a line's end ends the line depends on the
number of columns. What is read here by regular expressions are whole lines; `tests/load/reference.py` is the server's
loop, byte by byte, that they are compared with. Options under which the two could differ are refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from parser.atomic import atomic
from parser.rewrite import unescape
from parser.shape import Lexer
from parser.statement import Hole, LoadData
from proxy.errors import ProtocolError
from proxy.wire.charsets import charset_named

_ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"0": b"\0", b"Z": b"\x1a"}
# Character sets in which a byte below 0x80 is the ASCII character, wherever it stands.
_MULTI_BYTE = frozenset({"utf8mb4", "utf8mb3"})
_PLAIN = frozenset({"binary", "ascii", "latin1", "latin2", "latin5", "latin7", "greek", "hebrew", "cp1250", "cp1251"})
_PLAIN |= frozenset({"cp1256", "cp1257", "cp850", "cp852", "cp866", "koi8r", "koi8u", "tis620"})


class Cell(NamedTuple):
    """A field as it stands in its line. `cut`: the file ends with it, maybe in the middle of it."""

    start: int
    end: int
    text: bytes
    cut: bool = False


class Line(NamedTuple):
    """A line with its terminator, and of the fields that were wanted those that it has."""

    text: bytes
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class FileFormat:
    """The options of FIELDS and LINES. Empty bytes: none."""

    terminated: bytes = b"\t"
    enclosed: bytes = b""
    escaped: bytes = b"\\"
    line: bytes = b"\n"
    starting: bytes = b""
    ignored: int = 0  # lines at the beginning

    def problem(self) -> str:
        """Why lines of this format are not certain, as a clause; "" where they are."""
        if self.starting:
            return "LINES STARTING BY looks for lines inside of lines"
        if not self.terminated or not self.line:
            return "fields or lines without a terminator are read by the columns' widths"
        if len(self.enclosed) > 1 or len(self.escaped) > 1:
            return "ENCLOSED BY and ESCAPED BY take one character"
        marks = [self.terminated, self.line, self.enclosed, self.escaped]
        if any(mark and (not mark.isascii() or re.search(rb"[0-9A-Za-z\0]", mark)) for mark in marks):
            return "letters, digits and characters beyond ASCII may mean something else where they stand"
        quotes = self.enclosed + self.escaped
        if self.terminated[:1] == self.line[:1] or any(
            byte in quotes for terminator in (self.terminated, self.line) for byte in terminator
        ):
            return "its separators begin alike or contain each other"
        return ""


def file_format(load: LoadData, literals: Sequence[bytes], lexer: Lexer) -> FileFormat:
    """The format that a statement with these literals says."""

    def text(hole: Hole | None, default: bytes) -> bytes:
        if hole is None:
            return default
        return unescape(literals[hole.index], lexer, b'"' if hole.double_quoted else b"'")

    ignored = literals[load.ignore_lines.index] if load.ignore_lines is not None else b"0"
    return FileFormat(
        terminated=text(load.fields_terminated, b"\t"),
        enclosed=text(load.enclosed, b""),
        escaped=text(load.escaped, b"" if lexer.no_backslash_escapes else b"\\"),
        line=text(load.lines_terminated, b"\n"),
        starting=text(load.lines_starting, b""),
        ignored=int(ignored) if ignored.isdigit() and len(ignored) < 20 else 1 << 62,
    )


def charset_problem(charset: str) -> str:
    """Why lines in this character set are not certain, as a clause; "" where they are."""
    name = charset_named(charset)
    if name in _MULTI_BYTE or name in _PLAIN:
        return ""
    return f"in the character set {charset} a part of a character may look like a separator"


class Unreadable(ProtocolError):
    """The file is such that its lines are not certain."""


@dataclass(slots=True)
class LineReader:
    """Gives the lines of a file that is fed in pieces. `count`: columns that a line has for the statement; `wanted`:
    places among them, ascending, whose fields are to be found; `longest`: bytes of a line, at most."""

    format: FileFormat
    charset: str
    count: int
    wanted: tuple[int, ...]
    longest: int
    rows: int = 0  # lines that were given, without those that were ignored
    _parts: list[bytes] = field(default_factory=list)  # what has not become lines yet
    _size: int = 0  # of these
    _look_at: int = 0  # so many bytes there have to be before it is worth another look
    _ignore: int = 0
    _patterns: _Patterns = field(init=False)

    def __post_init__(self) -> None:
        self._ignore = self.format.ignored
        self._patterns = _Patterns(self.format, self.count, self.wanted)

    def feed(self, data: bytes) -> list[Line]:
        """Lines that are now complete. Raises Unreadable."""
        lines: list[Line] = []
        self._parts.append(data)
        self._size += len(data)
        if self._size > self.longest and self._size < self._look_at:
            raise self._too_long()
        if self._size < self._look_at:
            return lines
        buffer = b"".join(self._parts)
        pos = self._skipped(buffer)
        if not self._ignore:
            found = self._patterns.line.match
            wanted = self._patterns.groups
            add = lines.append
            while True:
                match = found(buffer, pos)
                if match is None:
                    line, end = self._slowly(buffer, pos, False)
                    if line is None:
                        break
                    add(line)
                else:
                    end = match.end()
                    rest = match["rest"]
                    if rest:
                        self._check(rest)
                    cells = []
                    for group in wanted:
                        first, last = match.span(group)
                        cells.append(Cell(first - pos, last - pos, match[group]))
                    add(Line(buffer[pos:end], tuple(cells)))
                pos = end
        self.rows += len(lines)
        self._keep(buffer, pos)
        return lines

    def end(self) -> list[Line]:
        """The line at the file's end that has no terminator, if there is one. Raises Unreadable."""
        buffer = b"".join(self._parts)
        self._parts.clear()
        pos = self._skipped(buffer)
        lines: list[Line] = []
        if self._ignore:
            return lines
        while pos < len(buffer):
            line, pos = self._slowly(buffer, pos, True)
            assert line is not None
            lines.append(line)
        self.rows += len(lines)
        return lines

    def _keep(self, buffer: bytes, pos: int) -> None:
        rest = buffer[pos:]
        self._parts, self._size = [rest], len(rest)
        if self._size > self.longest:
            raise self._too_long()
        self._look_at = 2 * self._size if pos == 0 and self._size > 4096 else 0

    def _too_long(self) -> Unreadable:
        return Unreadable(f"A line of the file is longer than {self.longest} bytes")

    def _skipped(self, buffer: bytes) -> int:
        """Past the lines that are to be ignored, as far as they are there."""
        pos = 0
        while self._ignore:
            match = self._patterns.skip.match(buffer, pos)
            if match is None:
                break
            self._check(match.group())
            self._ignore -= 1
            pos = match.end()
        return pos

    def _check(self, skipped: bytes) -> None:
        """Where fields are skipped, servers take a broken character for longer than it is."""
        if not skipped.isascii() and self.charset in _MULTI_BYTE:
            try:
                skipped.decode()
            except UnicodeDecodeError:
                raise Unreadable(f"The file has bytes that are no {self.charset} where fields are skipped") from None

    def _slowly(self, buffer: bytes, pos: int, final: bool) -> tuple[Line | None, int]:
        """One line, field by field; None where it is not complete."""
        patterns, begin = self._patterns, pos
        each = patterns.last_field if final else patterns.field
        cells: dict[int, Cell] = {}
        for number in range(self.count):
            if final and pos == len(buffer):
                break  # the file ends behind a separator: there is no further field
            match = each.match(buffer, pos)
            if match is None:
                return None, begin
            end = match.end("field")
            if number in self.wanted:
                cut = final and match.end() == len(buffer) and match["by"] == b""
                cells[number] = Cell(pos - begin, end - begin, match["field"], cut)
            pos = match.end()
            if match["by"] != self.format.terminated:
                break
        else:
            skip = (patterns.last_skip if final else patterns.skip).match(buffer, pos)
            if skip is None:
                return None, begin
            self._check(skip.group())
            pos = skip.end()
        return Line(buffer[begin:pos], tuple(cells.get(number) for number in self.wanted)), pos

    def value(self, cell: Cell) -> bytes | None:
        """What a server makes of a field; None is NULL. Fields that are not cut and have one text have one value."""
        text, cut = cell.text, cell.cut
        patterns, enclosed = self._patterns, self.format.enclosed
        if enclosed and text[:1] == enclosed:
            if cut and patterns.whole.fullmatch(text) is None:  # there is no second mark: the first is contents
                return enclosed + patterns.quoted_escape.sub(_unescaped, text[1:])
            inside = text[1:-1]
            return None if inside == patterns.null else patterns.quoted_escape.sub(_unescaped, inside)
        value = patterns.escape.sub(_unescaped, text)
        return None if text == patterns.null or (enclosed and value == b"NULL") else value


def _unescaped(match: re.Match[bytes]) -> bytes:
    escaped, doubled = match.groups()
    return _ESCAPED.get(escaped, escaped) if escaped is not None else doubled


class _Patterns:
    """The regular expressions of a format. Everything that repeats is possessive: what is not certain yet because the
    buffer ends does not match, and is looked at again when there is more."""

    def __init__(self, form: FileFormat, count: int, wanted: tuple[int, ...]) -> None:
        both = form.escaped == form.enclosed != b""
        escape, quote = re.escape(form.escaped), re.escape(form.enclosed)
        by, line = re.escape(form.terminated), re.escape(form.line)
        by_more, line_more = (_not_all(form.terminated), _not_all(form.line))
        # What a field holds: without quotes, and between them.
        escapes = (
            [] if not form.escaped else [escape * 2, escape + rb"(?!" + escape + rb")"] if both else [escape + b"."]
        )
        stops = _class(form.terminated[:1] + form.line[:1] + form.escaped)
        plain = _any(rb"[^" + stops + rb"]++", *escapes, by_more, line_more)
        plain_last = _any(rb"[^" + stops + rb"]++", *escapes, by_more, line_more, escape + rb"\Z" if escape else b"")
        ends, ends_last = by + b"|" + line, by + b"|" + line + rb"|\Z"
        self.escape = _compiled(_escape(form, False))
        self.quoted_escape = _compiled(_escape(form, True))
        self.null = form.escaped + b"N" if form.escaped and not both else b"\0\0"
        if quote:
            inside = [rb"[^" + _class(form.enclosed + form.escaped) + rb"]++", *([] if both else escapes), quote * 2]

            def quoted(end: bytes, *more: bytes) -> bytes:
                content = _any(*inside, quote + rb"(?!" + quote + b"|" + end + rb")", *more)
                return quote + content + quote + rb"(?=" + end + rb")"

            whole = quoted(ends)
            cut = (
                quote
                + _any(*inside, quote + rb"(?!" + quote + b"|" + ends_last + rb")", escape + rb"\Z" if escape else b"")
                + rb"\Z"
            )
            one = rb"(?:" + whole + rb"|(?!" + quote + rb")" + plain + rb")"
            # A mark that also escapes is taken for an escape without anything behind it, where the file ends.
            last = (
                rb"(?:"
                + quoted(ends if both else ends_last)
                + b"|"
                + cut
                + rb"|(?!"
                + quote
                + rb")"
                + plain_last
                + rb")"
            )
            self.whole = _compiled(rb"(?!)" if both else quoted(rb"\Z"))
        else:
            one, last = plain, plain_last
            self.whole = _compiled(rb"(?!)")
        rest = _any(
            rb"[^" + _class(form.line[:1] + form.escaped) + rb"]++", escape + b"." if escape else b"", line_more
        )
        self.skip = _compiled(rest + line)
        self.last_skip = _compiled(rest + rb"(?:" + line + rb"|" + (escape + rb"?+" if escape else b"") + rb"\Z)")
        self.field = _compiled(rb"(?P<field>" + one + rb")(?P<by>" + ends + rb")")
        self.last_field = _compiled(rb"(?P<field>" + last + rb")(?P<by>" + ends_last + rb")")
        known = wanted[-1] + 1 if wanted else 1
        fields = [rb"(" + one + rb")" if number in wanted else one for number in range(known)]
        more = rb"(?:" + by + one + rb")"
        left = count - known
        tail = rb"(?:(?>%s{0,%d})%s|%s{%d}%s(?P<rest>%s)%s)" % (more, left, line, more, left, by, rest, line)
        self.groups = tuple(range(1, len(wanted) + 1))
        self.line = _compiled(by.join(fields) + tail)


def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(atomic(pattern), re.DOTALL)


def _any(*options: bytes) -> bytes:
    return rb"(?:" + b"|".join(option for option in options if option) + rb")*+"


def _class(characters: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in characters)


def _not_all(terminator: bytes) -> bytes:
    """The first byte of a terminator where the others do not follow; nothing where there are none."""
    if len(terminator) == 1:
        return b""
    return re.escape(terminator[:1]) + rb"(?!" + re.escape(terminator[1:]) + rb")"


def _escape(form: FileFormat, quoted: bool) -> bytes:
    """What stands for one character: (behind an escape), (a doubled mark)."""
    escape, quote = re.escape(form.escaped), re.escape(form.enclosed)
    options = []
    if escape and escape != quote:
        options.append(escape + rb"(.)|()(?!)" if not quoted else escape + rb"(.)|" + quote + b"(" + quote + b")")
    elif escape or quoted:
        doubled = escape or quote
        options.append(rb"(?!)()|" + doubled + b"(" + doubled + b")")
    return options[0] if options else rb"(?!)()()"
