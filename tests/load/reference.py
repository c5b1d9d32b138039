"""How a server reads a file for LOAD DATA: MariaDB's loop (sql/sql_load.cc, READ_INFO), byte by byte.

Only for options under which `FileFormat.problem` finds nothing wrong, and characters of one byte.
"""

from __future__ import annotations

from proxy.plan.file_lines import FileFormat

_ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"0": b"\0", b"Z": b"\x1a"}
NULL = "NULL"
Value = bytes | str  # NULL


class Reference:
    """READ_INFO. `rows` is what a statement with `count` columns is given: as many values as the line has."""

    def __init__(self, data: bytes, form: FileFormat, count: int) -> None:
        self.data = data
        self.form = form
        self.at = 0
        self.end_of_line = self.eof = self.null = self.enclosed = False
        self.rows: list[list[Value]] = []
        self.texts: list[bytes] = []
        for _ in range(form.ignored):
            if self._next_line():
                return
        while True:
            begin, row = self.at, []
            for _ in range(count):
                value = self._read_field()
                if value is None:
                    break
                row.append(value)
            if not row:
                return
            over = self._next_line()
            self.rows.append(row)
            self.texts.append(data[begin : self.at])
            if over:
                return

    def _get(self) -> bytes:
        """b"" at the end."""
        found = self.data[self.at : self.at + 1]
        self.at += len(found)
        return found

    def _terminator(self, mark: bytes) -> bool:
        """The rest of one whose first byte has been read."""
        if self.data[self.at : self.at + len(mark) - 1] == mark[1:]:
            self.at += len(mark) - 1
            return True
        return False

    def _read_field(self) -> Value | None:
        form = self.form
        self.null = False
        if self.end_of_line:
            return None
        first = self._get()
        if not first:
            self.end_of_line = self.eof = True
            return None
        data = b""
        quote: bytes | None = None
        if first == form.enclosed:
            quote = first
            data += first
        else:
            self.at -= 1
        while True:
            byte = self._get()
            if not byte:
                break
            if byte == form.escaped:
                byte = self._get()
                if not byte:
                    data += form.escaped
                    break
                if form.escaped != form.enclosed or byte == form.escaped:
                    self.null |= byte == b"N"
                    data += _ESCAPED.get(byte, byte)
                    continue
                self.at -= 1
                byte = form.escaped
            if byte == form.line[:1] and quote is None and self._terminator(form.line):
                self.end_of_line = True
                return self._value(data, False)
            if byte == quote:
                byte = self._get()
                if byte == quote:
                    data += byte
                    continue
                if not byte or (byte == form.line[:1] and self._terminator(form.line)):
                    self.end_of_line = True
                    return self._value(data[1:], True)
                if byte == form.terminated[:1] and self._terminator(form.terminated):
                    return self._value(data[1:], True)
                self.at -= 1
                byte = quote
            elif byte == form.terminated[:1] and quote is None and self._terminator(form.terminated):
                return self._value(data, False)
            data += byte
        self.end_of_line = self.eof = True
        return self._value(data, False)

    def _value(self, data: bytes, enclosed: bool) -> Value:
        if (not enclosed and self.form.enclosed and data == b"NULL") or (len(data) == 1 and self.null):
            return NULL
        return data

    def _next_line(self) -> bool:
        """Is it the end?"""
        if self.end_of_line or self.eof:
            self.end_of_line = False
            return self.eof
        while True:
            byte = self._get()
            if not byte:
                return True
            if byte == self.form.escaped:
                if not self._get():
                    return True
                continue
            if byte == self.form.line[:1] and self._terminator(self.form.line):
                return False
