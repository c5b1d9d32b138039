"""Lines of files found as servers find them: against a server's own loop, whole and cut anywhere."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parser.analyse import parse
from parser.shape import lexer
from proxy.front.line_numbers import LineNumbers
from proxy.plan.file_lines import FileFormat, Line, LineReader, Unreadable, charset_problem, file_format
from tests.load.reference import NULL, Reference
from tests.sizes import size

FORMATS = [
    FileFormat(),
    FileFormat(escaped=b""),
    FileFormat(terminated=b",", enclosed=b'"'),
    FileFormat(terminated=b",", enclosed=b'"', escaped=b'"', line=b"\r\n"),
    FileFormat(terminated=b",", enclosed=b'"', escaped=b""),
    FileFormat(terminated=b"||", enclosed=b"'", line=b"\r\n"),
    FileFormat(terminated=b";", line=b"#!#"),
]


def read(
    form: FileFormat, data: bytes, cuts: list[int], count: int, wanted: tuple[int, ...]
) -> tuple[list[Line], LineReader]:
    reader = LineReader(form, "latin1", count, wanted, 1 << 20)
    bounds = [0, *sorted(cut for cut in cuts if cut <= len(data)), len(data)]
    lines = [line for a, b in itertools.pairwise(bounds) for line in reader.feed(data[a:b])]
    return lines + reader.end(), reader


@st.composite
def files(draw: st.DrawFn) -> tuple[FileFormat, bytes]:
    form = replace(draw(st.sampled_from(FORMATS)), ignored=draw(st.sampled_from((0, 0, 0, 1, 2))))
    marks = [form.terminated, form.line, form.enclosed, form.escaped, form.terminated[:1], form.line[:1]]
    piece = st.sampled_from([mark for mark in marks if mark] + [b"N", b"n", b"NULL", b"a", b"12", b"\\", b'"', b"\xe4"])
    return form, b"".join(draw(st.lists(piece, max_size=30)))


@given(files(), st.lists(st.integers(0, 60), max_size=8), st.integers(1, 4), st.data())
@settings(max_examples=size("TURNOUT_FILES", 300, 5000))
def test_as_a_server_reads_it(file: tuple[FileFormat, bytes], cuts: list[int], count: int, data: st.DataObject) -> None:
    form, contents = file
    assert form.problem() == ""
    wanted = tuple(sorted(data.draw(st.sets(st.integers(0, count - 1), max_size=count))))
    expected = Reference(contents, form, count)
    lines, reader = read(form, contents, cuts, count, wanted)
    assert [line.text for line in lines] == expected.texts
    assert reader.rows == len(expected.rows)
    for line, row in zip(lines, expected.rows):
        for at, cell in zip(wanted, line.cells):
            if at >= len(row):
                assert cell is None
            else:
                assert cell is not None
                assert (NULL if (value := reader.value(cell)) is None else value) == row[at]
                assert 0 <= cell.start <= cell.end <= len(line.text)


@given(files(), st.integers(2, 4), st.data())
@settings(max_examples=200)
def test_a_field_can_be_replaced_where_it_stands(
    file: tuple[FileFormat, bytes], count: int, data: st.DataObject
) -> None:
    """What is done with ids: digits in the field's place, or in front of the line, change no other field."""
    form, contents = file
    at = data.draw(st.integers(0, count - 1))
    for line in read(form, contents, [], count, (at,))[0]:
        alone = replace(form, ignored=0)
        (before,) = Reference(line.text, alone, count).rows
        (cell,) = line.cells
        if cell is not None:
            text = line.text[: cell.start] + b"42" + line.text[cell.end :]
            (after,) = Reference(text, alone, count).rows
            assert after == [*before[:at], b"42", *before[at + 1 :]]
        (longer,) = Reference(b"42" + form.terminated + line.text, alone, count + 1).rows
        assert longer == [b"42", *before]


@pytest.mark.parametrize(
    ("form", "why"),
    [
        (FileFormat(starting=b">"), "STARTING"),
        (FileFormat(terminated=b""), "widths"),
        (FileFormat(line=b""), "widths"),
        (FileFormat(enclosed=b"''"), "one character"),
        (FileFormat(terminated=b"x"), "letters"),
        (FileFormat(line="§".encode()), "letters"),
        (FileFormat(terminated=b"\n\t"), "alike"),
        (FileFormat(terminated=b"\\"), "contain"),
        (FileFormat(terminated=b',"', enclosed=b'"'), "contain"),
    ],
)
def test_formats_that_are_not_certain(form: FileFormat, why: str) -> None:
    assert why in form.problem()


def test_character_sets() -> None:
    assert not charset_problem("utf8")
    assert not charset_problem("binary")
    for charset in ("gbk", "sjis", "big5", "utf16", "ucs2", "nonsense"):
        assert charset in charset_problem(charset)


def test_a_line_too_long() -> None:
    reader = LineReader(FileFormat(), "utf8mb4", 2, (0,), 10_000)
    assert reader.feed(b"x" * 9_000) == []
    with pytest.raises(Unreadable, match="longer than 10000"):
        reader.feed(b"x" * 9_000)


def test_long_lines_take_linear_time() -> None:
    reader = LineReader(FileFormat(terminated=b",", enclosed=b'"'), "utf8mb4", 2, (0,), 1 << 30)
    for _ in range(3_000):
        assert not reader.feed(b'"' + b"x" * 3_000 + b"y")
    (line,) = reader.end()
    assert len(line.text) == 3_000 * 3_002


@pytest.mark.parametrize("charset", ["utf8mb4", "utf8mb3"])
def test_broken_characters_where_fields_are_skipped(charset: str) -> None:
    """A server takes the byte behind a broken character for a part of it there, and only there."""
    good = b"1\t\xc3\n2\t\xc3\xa4\xf0\x9f\x98\x80\n"
    assert len(LineReader(FileFormat(), charset, 2, (0,), 100).feed(good)) == 2
    with pytest.raises(Unreadable, match=charset):
        LineReader(FileFormat(), charset, 1, (0,), 100).feed(good)
    with pytest.raises(Unreadable, match=charset):
        LineReader(FileFormat(ignored=1), charset, 2, (0,), 100).feed(good)
    assert len(LineReader(FileFormat(), "latin1", 1, (0,), 100).feed(good)) == 2


def test_lines_that_parts_count_by_themselves() -> None:
    numbers = LineNumbers()
    numbers.add(bytes((0, 1, 1, 0)))
    numbers.add(bytes((1, 0)))
    assert numbers.told(1, [b"x at row 1", b"no row", b"Row 3 was cut", b"y at row 2, z"]) == [
        (2, b"x at row 2"),
        (2, b"no row"),
        (5, b"Row 5 was cut"),
        (3, b"y at row 3, z"),
    ]
    assert numbers.told(0, [b"x at row 3", b"x at row 4", b"x at row 1"]) == [
        (6, b"x at row 6"),
        (6, b"x at row 4"),  # beyond what is remembered
        (1, b"x at row 1"),
    ]


def test_the_format_of_a_statement() -> None:
    sql = (
        rb"LOAD DATA LOCAL INFILE 'x' INTO TABLE t FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY ''"
        rb" LINES TERMINATED BY '\r\n' IGNORE 3 LINES (a)"
    )
    for mode, text in ((False, sql), (True, sql.replace(rb"\"", b'"').replace(rb"\r\n", b"\r\n"))):
        read_by = lexer(no_backslash_escapes=mode)
        shape, literals = read_by.shape(text)
        load = parse(shape, literals, lexer=read_by).load
        assert load is not None
        expected = FileFormat(terminated=b",", enclosed=b'"', escaped=b"", line=b"\r\n", ignored=3)
        assert file_format(load, literals, read_by) == expected
    read_by = lexer(no_backslash_escapes=True)
    shape, literals = read_by.shape(b"LOAD DATA LOCAL INFILE 'x' INTO TABLE t")
    load = parse(shape, literals, lexer=read_by).load
    assert load is not None
    assert file_format(load, literals, read_by) == FileFormat(escaped=b"")
