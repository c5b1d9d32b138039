"""Lexer.shape: what is lifted, what stays, and that the two together are the statement."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parser.shape import OPAQUE, HoleKind, Lexer, hole_kinds, is_opaque, lexer
from parser.tokens import read

MULTI_BYTE = ["gbk", "big5", "sjis", "cp932", "gb18030"]
CHARSETS = ["utf8mb4", "latin1", "ascii", "binary", *MULTI_BYTE]

# statement, shape with · for a hole, literals
PLAIN = [
    ("SELECT c FROM sbtest1 WHERE id=5012", "SELECT c FROM sbtest1 WHERE id=·", ["5012"]),
    ("", "", []),
    ("5", "·", ["5"]),
    ("a-1", "a-·", ["1"]),
    ("a--1", "a--·", ["1"]),
    ("a-- 1\n2", "a-- ·\n·", ["1", "2"]),
    ("a--\n1", "a--\n·", ["1"]),
    ("a --", "a --", []),
    ("a -- ", "a -- ", []),
    ("#5 x\n 7", "#·\n ·", ["5 x", "7"]),
    ("#\n7", "#·\n·", ["", "7"]),
    ("/*5*/6", "/*·*/·", ["5", "6"]),
    ("/**/6", "/*·*/·", ["", "6"]),
    ("/* a *//* b */*5", "/*·*//*·*/*·", [" a ", " b ", "5"]),
    ("t1.c2 t.5 `a`.5 `t`.`5`", "t1.c2 t.5 `a`.5 `t`.`5`", []),
    (
        "1e5 1E-5 1e+5 1.5e3 1. .5 1.e2 0.5",
        "· · · · · · · ·",
        ["1e5", "1E-5", "1e+5", "1.5e3", "1.", ".5", "1.e2", "0.5"],
    ),
    ("0x1F 0b01 0XFF 0B1 0xG 0b2 00x1 10x1", "· · 0XFF 0B1 0xG 0b2 00x1 10x1", ["0x1F", "0b01"]),
    ("2fa 7days 1e 1ea 1e5a 1_ 1$", "2fa 7days 1e 1ea ·a 1_ 1$", ["1e5"]),
    ("2*5/3%4", "·*·/·%·", ["2", "5", "3", "4"]),
    ("(1,2),(-3,+4)", "(·,·),(-·,+·)", ["1", "2", "3", "4"]),
    ("x '' y", "x '·' y", [""]),
    ("x 'a''b' 'c' y", "x '·' '·' y", ["a''b", "c"]),
    ("x 'a\\'b' y", "x '·' y", ["a\\'b"]),
    ("x 'a\\\\' y", "x '·' y", ["a\\\\"]),
    ("x '-- /* # ` \"' y", "x '·' y", ['-- /* # ` "']),
    ('x "a\'b" "c""d" y', 'x "·" "·" y', ["a'b", 'c""d']),
    ("N'a' _utf8'b' x'4D' b'01'", "N'·' _utf8'·' x'·' b'·'", ["a", "b", "4D", "01"]),
    ("`a'b` 5", "`a'b` ·", ["5"]),
    ("`a``5` 5", "`a``5` ·", ["5"]),
    ("@1 @'a 1' @\"b\" @@x1 u@10.0.0.1", "@1 @'a 1' @\"b\" @@x1 u@10.0.0.1", []),
    ("'u'@'h1'", "'·'@'h1'", ["u"]),
    ("/*!40101 SET a=1*/", "/*!40101 SET a=·*/", ["1"]),
    ("/*! 1 */ /*!5 */", "/*! · */ /*!· */", ["1", "5"]),
    ("/*!80016 x='N' */ 1", "/*!80016 x='·' */ ·", ["N", "1"]),
    ("/*M!100100 5 */ 1", "/*M!100100 · */ ·", ["5", "1"]),
    ("/*M! 5 */ 1", "/*M! · */ ·", ["5", "1"]),
    ("SELECT /*+ MAX_EXECUTION_TIME(5) */ 1", "SELECT /*+ MAX_EXECUTION_TIME(5) */ ·", ["1"]),
    ("/* turnout: cluster=m1 */ 1", "/* turnout: cluster=m1 */ ·", ["1"]),
    ("/*TURNOUT: primary*/ 1", "/*TURNOUT: primary*/ ·", ["1"]),
    ("/* turnouts: 5 */ 1", "/*·*/ ·", [" turnouts: 5 ", "1"]),
    ("id=? AND x=5", "id=? AND x=·", ["5"]),
    ("/*!40000 LIMIT 5*/", "/*!40000 LIMIT ·*/", ["5"]),
]

UNTELLABLE = [
    "'a",
    '"a',
    "`a",
    "x '''",
    "x 'a\\'",
    "/* x",
    "/*",
    "/*/",
    "/*+ x",
    "/* turnout: x",
    "x \0 y",
    "x -- a\0b",
    "'a'5",
    "5'a'",
    "`a`5",
    "1.5.5",
    "1.5e",
    "a*/*c*/b",
    "/*!80000 it's */ 'x'",
    "/*!80000 -- */ x",
    "/*M! it's */",
    "'",
    "x '",
    "SELECT @'a\\'b', 5",  # the server unescapes it, as it does strings
    "CREATE USER 'u'@'h\\'x' IDENTIFIED BY 'p'",
]


@pytest.mark.parametrize(("sql", "shape", "literals"), PLAIN)
@pytest.mark.parametrize("charset", CHARSETS)
def test_lifts_literals_and_comments(sql: str, shape: str, literals: list[str], charset: str) -> None:
    lex = lexer(False, False, charset)
    got = lex.shape(sql.encode())
    assert got == (shape.replace("·", "\0").encode(), [t.encode() for t in literals])
    assert lex.restore(*got) == sql.encode()


@pytest.mark.parametrize("sql", UNTELLABLE)
@pytest.mark.parametrize("charset", CHARSETS)
def test_what_cannot_be_told_is_opaque(sql: str, charset: str) -> None:
    lex = lexer(False, False, charset)
    shape, literals = lex.shape(sql.encode())
    assert (shape, literals) == (OPAQUE + sql.encode(), [])
    assert is_opaque(shape)
    assert hole_kinds(shape) == []
    assert lex.restore(shape, literals) == sql.encode()


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE USER 'u'@'h' IDENTIFIED BY 'p', ''@'%' IDENTIFIED BY '5'",
        "SET @'a' = 5, @b = @'c d', @`e` = '6' -- 7",
        "SET PASSWORD FOR 'u'@h = 'x', 8",
        "GRANT SELECT ON *.* TO \"u\"@\"h'h\", 'v'@'h\"h' /* 9 */ IDENTIFIED BY 'y'",
    ],
)
def test_names_behind_at_signs_leave_holes_their_numbers(sql: str) -> None:
    shape, literals = lexer().shape(sql.encode())
    for token in read(shape.decode(), False).tokens:
        if token.hole >= 0:
            before = shape[: token.start] + shape[token.start : token.end].partition(b"\0")[0]
            assert token.hole == before.count(b"\0"), token
    assert read(shape.decode(), False).holes == len(literals)


def test_nul_in_a_string_is_content() -> None:
    assert lexer().shape(b"x '\0' y") == (b"x '\0' y", [b"\0"])


def test_ansi_quotes_make_double_quotes_identifiers() -> None:
    assert lexer(True, False).shape(b'"a\'1" "b""2" \'c"\' "t".5') == (b'"a\'1" "b""2" \'\0\' "t".5', [b'c"'])
    assert is_opaque(lexer(True, False).shape(b'x "')[0])


def test_no_backslash_escapes() -> None:
    assert lexer(False, True).shape(rb"x '\' y '\'") == (b"x '\0' y '\0'", [b"\\", b"\\"])
    assert is_opaque(lexer(False, False).shape(rb"x '\' y '\'")[0])


@pytest.mark.parametrize(
    ("charset", "character"),
    [
        ("gbk", b"\x81\x5c"),
        ("gbk", b"\xfe\x60"),
        ("big5", b"\xa5\x5c"),
        ("sjis", b"\x95\x5c"),
        ("cp932", b"\x83\x5c"),
        ("gb18030", b"\x81\x5c"),
        ("gb18030", b"\x81\x30\x81\x30"),
    ],
)
def test_characters_of_several_bytes_are_whole(charset: str, character: bytes) -> None:
    lex = lexer(False, False, charset)
    sql = b"x '" + character + b"' y " + character + b"5 `" + character + b"` 'z'"
    shape = b"x '\0' y " + character + b"5 `" + character + b"` '\0'"
    assert lex.shape(sql) == (shape, [character, b"z"])


def test_a_lead_byte_before_a_quote_does_not_hide_it() -> None:
    assert lexer(False, False, "gbk").shape(b"x '\xbf' y '\xbf\\'") == (b"x '\0' y '\0'", [b"\xbf", b"\xbf\\"])
    assert is_opaque(lexer(False, False, "utf8mb4").shape(b"x '\xbf' y '\xbf\\'")[0])
    assert is_opaque(lexer(False, False, "gbk").shape(b"x \xbf y")[0])


def test_high_bytes_that_may_be_white_space_are_not_guessed() -> None:
    assert lexer(False, False, "utf8mb4").shape(b"a--\xa01") == (b"a--\xa01", [])
    assert is_opaque(lexer(False, False, "latin1").shape(b"a--\xa01")[0])
    assert is_opaque(lexer(False, False, "latin1").shape(b"x 5\xa0")[0])


def test_utf16_cannot_be_a_client_charset() -> None:
    with pytest.raises(ValueError, match="utf16"):
        lexer(False, False, "utf16")


def test_restore_refuses_the_wrong_number_of_literals() -> None:
    with pytest.raises(ValueError, match="2 literals for 1 holes"):
        lexer().restore(b"x=\0", [b"1", b"2"])


def test_hole_kinds() -> None:
    sql = b"-- a\n# b\n/* c */*7 SELECT 1, 'x', \"y\", x'4D', -2, 'a--', 5 -- d"
    shape, literals = lexer().shape(sql)
    n, s, c = HoleKind.NUMBER, HoleKind.STRING, HoleKind.COMMENT
    assert hole_kinds(shape) == [c, c, c, n, n, s, s, s, n, s, n, c]
    assert len(literals) == 12


def test_time_is_linear() -> None:
    for piece in (b"'", b"/*", b"/*!80000 ", b"1.", b"a.", b"-", b"/", b"\\", b"`", b"0x", b"--", b"@'", b"(1,'a'),"):
        short, long = (b"x " + piece * count for count in (10_000, 200_000))
        assert _cpu_s(long) < 80 * max(_cpu_s(short), 1e-4), piece  # 20 x as long; squared, it would be 400 x
        assert Lexer.restore(*lexer().shape(long)) == long


def _cpu_s(sql: bytes) -> float:
    """The least of three, on a machine where others work too."""
    taken = []
    for _ in range(3):
        began = time.process_time()
        lexer().shape(sql)
        taken.append(time.process_time() - began)
    return min(taken)


# Statements made of pieces of which we know what is a literal. Each piece is (before, literal or None, after).
def _pieces(
    ansi: bool, raw_backslash: bool, charset: str
) -> st.SearchStrategy[list[tuple[bytes, bytes | None, bytes]]]:
    codec = {"utf8mb4": "utf-8", "binary": "latin-1"}.get(charset, charset)

    def encodable(text: str) -> bool:
        try:
            return text.encode(codec).decode(codec) == text
        except UnicodeError:
            return False

    alphabet = st.characters(exclude_categories=["Cs"]).filter(encodable) | st.sampled_from("'\"`\\#-/*\n 05aZé表能功")
    text = st.text(alphabet.filter(encodable), max_size=8)

    def escaped(content: str, quote: str) -> bytes:
        content = content.replace(quote, quote * 2)
        return (content if raw_backslash else content.replace("\\", "\\\\")).encode(codec)

    def string(quote: str) -> st.SearchStrategy[tuple[bytes, bytes | None, bytes]]:
        return text.map(lambda t: (quote.encode(), escaped(t, quote), quote.encode()))

    name = text.filter(lambda t: t != "" and "\0" not in t)
    numbers = st.sampled_from(["0", "5012", "1.5", ".5", "1e10", "1E-3", "0x1F", "0b101", "7.", "18446744073709551615"])
    plain = "SELECT c FROM sbtest1 WHERE id = ( ) , t1.c2 2fa @v1 - a-b ? /*!40101 x*/ <=> N_ 1e /"
    words = st.sampled_from(plain.split())
    comment = text.filter(lambda t: "*/" not in t and not t.startswith(("!", "+", "M!")) and "\0" not in t)
    options = [
        words.map(lambda w: (w.encode(), None, b"")),
        numbers.map(lambda n: (b"", n.encode(), b"")),
        string("'"),
        name.map(lambda t: (b"`" + t.replace("`", "``").encode(codec) + b"`", None, b"")),
        comment.map(lambda t: (b"/*", (t.rstrip("*") + " ").encode(codec), b"*/")),
        text.filter(lambda t: "\n" not in t and "\0" not in t).map(lambda t: (b"-- ", t.encode(codec), b"\n")),
        text.filter(lambda t: "\n" not in t and "\0" not in t).map(lambda t: (b"#", t.encode(codec), b"\n")),
    ]
    if ansi:
        options.append(name.map(lambda t: (b'"' + t.replace('"', '""').encode(codec) + b'"', None, b"")))
    else:
        options.append(string('"'))
    return st.lists(st.one_of(options), max_size=12)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_generated_statements(data: st.DataObject) -> None:
    ansi, raw = data.draw(st.booleans()), data.draw(st.booleans())
    charset = data.draw(st.sampled_from(CHARSETS))
    pieces = data.draw(_pieces(ansi, raw, charset))
    sql = b"".join(b" " + before + (literal or b"") + after for before, literal, after in pieces)
    shape, literals = lexer(ansi, raw, charset).shape(sql)
    assert shape == b"".join(b" " + b + (b"" if t is None else b"\0") + a for b, t, a in pieces)
    assert literals == [t for _, t, _ in pieces if t is not None]
    assert Lexer.restore(shape, literals) == sql


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.sampled_from([bytes((b,)) for b in b"'\"`\\#-/*!+M \n05.xeE@\0\x81\x5c\xa0?,;"] + [b"/*!80000", b"turnout:"])
    ),
    st.booleans(),
    st.booleans(),
    st.sampled_from(CHARSETS),
)
@example([b"@", b".", b"0"], False, False, "utf8mb4")
def test_any_bytes_come_back(parts: list[bytes], ansi: bool, raw: bool, charset: str) -> None:
    sql = b"".join(parts)
    lex = lexer(ansi, raw, charset)
    shape, literals = lex.shape(sql)
    assert lex.restore(shape, literals) == sql
    assert len(hole_kinds(shape)) == len(literals)
    if not is_opaque(shape):  # the same text with other contents has the same shape: no content is left in it
        kinds = hole_kinds(shape)
        others = {HoleKind.NUMBER: b"1e5", HoleKind.STRING: b"q", HoleKind.COMMENT: b" q"}
        again, _ = lex.shape(lex.restore(shape, [others[k] for k in kinds]))
        assert again == shape
