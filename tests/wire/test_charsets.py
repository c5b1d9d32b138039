from __future__ import annotations

import codecs

import pytest
from pymysql.charset import _charsets

from proxy.wire import charsets, collations


@pytest.mark.parametrize(
    ("number", "name", "charset"),
    [
        (8, "latin1_swedish_ci", "latin1"),
        (33, "utf8mb3_general_ci", "utf8mb3"),
        (45, "utf8mb4_general_ci", "utf8mb4"),
        (63, "binary", "binary"),
        (255, "utf8mb4_0900_ai_ci", "utf8mb4"),
        (309, "utf8mb4_0900_bin", "utf8mb4"),
        (608, "utf8mb4_croatian_ci", "utf8mb4"),
        (1071, "latin1_nopad_bin", "latin1"),
        # MariaDB 10.11's information_schema.COLLATION_CHARACTER_SET_APPLICABILITY:
        (2048, "utf8mb3_uca1400_ai_ci", "utf8mb3"),
        (2048 + 256 + 8 * 20 + 7, "utf8mb4_uca1400_german2_nopad_as_cs", "utf8mb4"),
        (2048 + 4 * 256 + 8 * 24 + 1, "utf32_uca1400_croatian_ai_cs", "utf32"),
    ],
)
def test_collations(number: int, name: str, charset: str) -> None:
    expected = charsets.Collation(number, name, charset)
    assert charsets.collation(number) == expected
    assert charsets.collation_named(name.upper()) == expected


@pytest.mark.parametrize("number", [0, -1, 17, 254, 272, 324, 2047, 2048 + 8 * 21, 65535])
def test_ids_that_stand_for_nothing(number: int) -> None:
    assert charsets.collation(number) is None


def test_every_id_below_256_that_pymysql_knows_is_the_same_here() -> None:
    for theirs in _charsets._by_id.values():
        ours = charsets.collation(theirs.id, mysql=True)
        assert ours is not None
        assert (ours.name, ours.charset) == (theirs.collation, theirs.name)


def test_there_are_as_many_as_the_servers_list() -> None:
    # MariaDB 10.11 lists 1242 collations, MySQL 8.4 67 more.
    assert sum(charsets.collation(number) is not None for number in range(65536)) == 1242 + 67


def test_a_name_may_stand_for_different_collations() -> None:
    assert charsets.collation_named("utf8mb4_croatian_ci") == charsets.Collation(608, "utf8mb4_croatian_ci", "utf8mb4")
    mysql = charsets.collation_named("utf8mb4_croatian_ci", mysql=True)
    assert mysql is not None
    assert mysql.id == 245
    assert charsets.collation(245) == charsets.Collation(245, "utf8mb4_croatian_mysql561_ci", "utf8mb4")


def test_utf8_is_utf8mb3() -> None:
    assert charsets.collation_named("utf8_bin") == charsets.collation(83)
    assert charsets.charset_named("UTF8") == "utf8mb3"
    assert charsets.default_collation("utf8") == charsets.collation(33)


def test_every_charset_has_a_default_that_fits_a_handshake() -> None:
    for charset, number in collations.DEFAULTS.items():
        default = charsets.default_collation(charset)
        assert default is not None
        assert (default.id, default.charset) == (number, charset)
        assert number < 256


def test_codecs_exist() -> None:
    for charset in collations.DEFAULTS:
        name = charsets.codec(charset)
        if name is not None:
            codecs.lookup(name)
    assert charsets.codec("latin1") == "cp1252"
    assert charsets.codec("utf8mb4") == "utf_8"
    assert charsets.codec("binary") is None
    assert charsets.codec("klingon") is None
    assert charsets.default_collation("klingon") is None


@pytest.mark.parametrize("charset", ["ucs2", "utf16", "UTF16LE", "utf32", "klingon"])
def test_charsets_that_no_client_may_speak(charset: str) -> None:
    assert not charsets.client_charset_allowed(charset)


@pytest.mark.parametrize("charset", ["utf8mb4", "utf8", "latin1", "gbk", "binary"])
def test_charsets_that_clients_may_speak(charset: str) -> None:
    assert charsets.client_charset_allowed(charset)


@pytest.mark.parametrize(
    ("number", "sent"), [(8, 8), (255, 255), (309, 45), (1071, 8), (2048, 33), (0, 45), (9999, 45)]
)
def test_an_id_that_does_not_fit_is_never_cut_to_another_one(number: int, sent: int) -> None:
    assert charsets.handshake_id(number) == sent
