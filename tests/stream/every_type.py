"""A table with every type of column, and edge values for each."""

from __future__ import annotations

from collections.abc import Iterator

NAMES = """
    armscii8 ascii big5 cp1250 cp1251 cp1256 cp1257 cp850 cp852 cp866 cp932 dec8 eucjpms euckr gb2312 gbk geostd8 greek
    hebrew hp8 keybcs2 koi8r koi8u latin1 latin2 latin5 latin7 macce macroman sjis swe7 tis620 ucs2 ujis utf16 utf16le
    utf32 utf8mb3 utf8mb4
"""
CHARSETS = NAMES.split()
TEXT = "_utf8mb4 0x" + " aAñß€ж日本語ｱ\U0001f600 \\'\"\0\n%\x1a ".encode().hex()

# declaration -> literals
EDGES: dict[str, list[str]] = {
    "TINYINT": ["-128", "127", "0", "-1"],
    "TINYINT UNSIGNED": ["0", "255", "128"],
    "SMALLINT": ["-32768", "32767", "-1"],
    "SMALLINT UNSIGNED ZEROFILL": ["0", "65535", "32768"],
    "MEDIUMINT": ["-8388608", "8388607", "-1"],
    "MEDIUMINT UNSIGNED": ["0", "16777215", "8388608"],
    "INT": ["-2147483648", "2147483647", "-1"],
    "INT(5) UNSIGNED": ["0", "4294967295", "2147483648"],
    "BIGINT": ["-9223372036854775808", "9223372036854775807", "-1"],
    "BIGINT UNSIGNED": ["0", "18446744073709551615", "9223372036854775808"],
    "BOOLEAN": ["TRUE", "FALSE"],
    "FLOAT": ["0.1", "-0.0", "3.4028234663852886e38", "1.4e-45", "16777217", "-1e-7", "0"],
    "FLOAT(7,2) UNSIGNED": ["0.01", "99999.99", "12345.67"],
    "DOUBLE": [
        "0.1",
        "-0.0",
        "1.7976931348623157e308",
        "5e-324",
        "-1.1125369292536007e-308",
        "9007199254740993",
        "1/3",
    ],
    "DOUBLE(20,5)": ["123456789012345.12345", "-0.00001"],
    "DECIMAL": ["0", "-9999999999", "9999999999"],
    "DECIMAL(65,30)": [
        "-99999999999999999999999999999999999.999999999999999999999999999999",
        "0.000000000000000000000000000001",
        "-0.000000000000000000000000000001",
        "1",
    ],
    "DECIMAL(65,0)": ["-" + "9" * 65, "1" + "0" * 64, "0"],
    "DECIMAL(30,30)": ["0.000000001000000000200000000003", "-0.999999999999999999999999999999", "0"],
    "DECIMAL(9,9) UNSIGNED": ["0.999999999", "0.000000001"],
    "DECIMAL(20,1) UNSIGNED ZEROFILL": ["0", "9999999999999999999.9"],
    "BIT": ["b'0'", "b'1'"],
    "BIT(9)": ["b'100000000'", "b'011111111'", "0"],
    "BIT(64)": ["18446744073709551615", "9223372036854775808", "39"],
    "YEAR": ["0", "1901", "2155", "2000"],
    "YEAR(2)": ["70", "69", "2000"],
    "DATE": ["'0000-00-00'", "'9999-12-31'", "'2024-02-31'", "'2024-00-00'", "'0001-01-01'"],
    "TIME": ["'-838:59:59'", "'838:59:59'", "'00:00:00'", "'-00:00:01'"],
    "TIME(1)": ["'-838:59:59.9'", "'838:59:59.9'", "'-00:00:00.1'", "'-00:00:01.5'"],
    "TIME(2)": ["'-838:59:59.99'", "'838:59:59.99'", "'-00:00:00.01'", "'-00:00:01.50'"],
    "TIME(3)": ["'-838:59:59.999'", "'838:59:59.999'", "'-00:00:00.001'"],
    "TIME(4)": ["'-838:59:59.9999'", "'00:00:00.0001'", "'-00:00:00.0001'"],
    "TIME(5)": ["'-838:59:59.99999'", "'00:00:00.00001'", "'-12:34:56.78901'"],
    "TIME(6)": ["'-838:59:59.999999'", "'838:59:59.999999'", "'-00:00:00.000001'", "'-00:00:01'", "'-12:34:56.789012'"],
    "DATETIME": ["'0000-00-00 00:00:00'", "'9999-12-31 23:59:59'", "'2024-02-31 01:02:03'", "'2024-00-00 00:00:00'"],
    "DATETIME(1)": ["'9999-12-31 23:59:59.9'", "'0000-00-00 00:00:00'", "'2024-06-00 00:00:00.1'"],
    "DATETIME(2)": ["'9999-12-31 23:59:59.99'", "'0000-00-00 00:00:00'"],
    "DATETIME(3)": ["'9999-12-31 23:59:59.999'", "'1000-01-01 00:00:00.001'"],
    "DATETIME(4)": ["'9999-12-31 23:59:59.9999'", "'1000-01-01 00:00:00.0001'"],
    "DATETIME(5)": ["'9999-12-31 23:59:59.99999'", "'1000-01-01 00:00:00.00001'"],
    "DATETIME(6)": ["'9999-12-31 23:59:59.999999'", "'0000-00-00 00:00:00.000000'", "'2024-00-00 12:34:56.789012'"],
    "TIMESTAMP": [
        "0",
        "'1970-01-01 00:00:01'",
        "'2038-01-19 03:14:07'",
        "'2024-03-31 01:30:00'",
        "'2024-10-27 01:30:00'",
    ],
    "TIMESTAMP(1)": ["0", "'1970-01-01 00:00:01.1'", "'2038-01-19 03:14:07.9'"],
    "TIMESTAMP(3)": ["0", "'1970-01-01 00:00:01.001'", "'2038-01-19 03:14:07.999'"],
    "TIMESTAMP(6)": ["0", "'1970-01-01 00:00:01.000001'", "'2038-01-19 03:14:07.999999'"],
    "CHAR(10) CHARACTER SET latin1": ["'a  '", "''", "x'80ff00'", "' '"],
    "CHAR(255) CHARACTER SET utf8mb4": [TEXT, f"REPEAT({TEXT}, 12)", "''"],
    "VARCHAR(10) CHARACTER SET latin1": ["'a  '", "''", "x'80ff00'", "REPEAT('x', 10)"],
    "VARCHAR(2000) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin": [TEXT, f"REPEAT({TEXT}, 50)", "'  '", "''"],
    "BINARY(5)": ["x'00'", "x'0000000001'", "x'ff00'", "''", "x'20'"],
    "BINARY(255)": ["x'00'", "REPEAT(x'ff', 255)"],
    "VARBINARY(10)": ["x'00'", "x'0000'", "x'80ff20'", "''", "x'c3'"],
    "VARBINARY(3000)": ["REPEAT(x'00', 3000)", "x'ff'"],
    "TINYBLOB": ["x'00'", "REPEAT(x'ff', 255)", "''"],
    "BLOB": ["x'00'", "REPEAT(x'ff', 3000)", "x'c3'"],
    "MEDIUMBLOB": ["x'00'", "REPEAT(x'ff', 100000)"],
    "LONGBLOB": ["x'00'", "REPEAT('\\0', 100)"],
    "TINYTEXT": [TEXT, "''"],
    "TEXT CHARACTER SET latin1": ["x'80ff00'", "'a  '"],
    "MEDIUMTEXT CHARACTER SET utf8mb4": [TEXT, f"REPEAT({TEXT}, 500)"],
    "LONGTEXT CHARACTER SET ucs2": ["'ab'", "''"],
    "JSON": ['\'{"a": [1, null, "ж"]}\'', "'1.10'", "'\"\"'"],
    "ENUM('a', 'it''s', 'b\\\\n', 'ж,', '', 'line\nbreak') CHARACTER SET utf8mb4": [
        "'a'",
        "2",
        "3",
        "4",
        "5",
        "'zz'",
        "6",
    ],
    "SET('a', 'it''s', 'b\\\\n', 'ж') CHARACTER SET utf8mb4": ["''", "'a,ж'", "15", "2"],
    "SET(" + ", ".join(f"'m{n}'" for n in range(64)) + ")": ["18446744073709551615", "9223372036854775808", "0"],
    "ENUM(" + ", ".join(f"'m{n}'" for n in range(300)) + ") CHARACTER SET latin1": ["1", "300", "256"],
    "GEOMETRY": ["ST_GeomFromText('POINT(1.5 -2.25)', 4326)", "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(0 0))')"],
    "POINT": ["POINT(0.1, -0.0)"],
    "POLYGON": ["ST_GeomFromText('POLYGON((0 0, 0 1, 1 1, 0 0))')"],
    "UUID": [
        "'11223344-5566-1788-89aa-bbccddeeff00'",
        "'11223344-5566-7788-89aa-bbccddeeff00'",
        "'00000000-0000-0000-0000-000000000000'",
        "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
    ],
    "INET6": [
        "'::'",
        "'::ffff:1.2.3.4'",
        "'::1.2.3.4'",
        "'1::ff00'",
        "'ff00::'",
        "'1:0:0:2:0:0:0:3'",
        "'1:0:2:3:4:5:6:7'",
    ],
    "INET4": ["'0.0.0.0'", "'255.255.255.255'", "'10.0.0.0'"],
    "TEXT COMPRESSED CHARACTER SET utf8mb4": [f"REPEAT({TEXT}, 50)", "'short'", "''"],
    "BLOB COMPRESSED": ["REPEAT(x'00', 1000)", "x'00'", "''"],
    "VARCHAR(500) COMPRESSED CHARACTER SET latin1": ["REPEAT('x', 500)", "x'80ff00'", "''"],
    "VARBINARY(500) COMPRESSED": ["REPEAT(x'00', 500)", "x'00'", "x'8000'"],
    "INT INVISIBLE": ["1", "2"],
    **{f"VARCHAR(60) CHARACTER SET {charset}": [f"CONVERT({TEXT} USING {charset})", "''"] for charset in CHARSETS},
    **{f"CHAR(30) CHARACTER SET {charset}": [f"CONVERT({TEXT} USING {charset})", "'a'"] for charset in CHARSETS},
    **{f"DECIMAL({n},{n // 3})": [f"-{'9' * (n - n // 3)}.{'9' * (n // 3)}0", "1"] for n in range(2, 65)},
}
SESSION = ("SET NAMES utf8mb4", "SET sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00'")


def tables(engine: str = "InnoDB", columns_each: int = 90) -> Iterator[tuple[str, str, list[str]]]:
    """(name, CREATE TABLE, INSERTs). Row n has the n-th edge value of every column that has so many, else NULL."""
    declarations = list(EDGES)
    for number, start in enumerate(range(0, len(declarations), columns_each)):
        chosen = declarations[start : start + columns_each]
        name = f"every{number}"
        columns = [f"c{n} {declaration} NULL" for n, declaration in enumerate(chosen)]
        # Attributes that come after the type but before NULL's place.
        columns = [c.replace(" INVISIBLE NULL", " NULL INVISIBLE") for c in columns]
        generated = ["v INT AS (id + 1) VIRTUAL", "s VARCHAR(20) AS (CONCAT('<', id, '>')) STORED"]
        create = f"CREATE TABLE {name} (id INT PRIMARY KEY, {', '.join([*generated, *columns])}) ENGINE={engine}"
        inserts = []
        for row in range(max(len(EDGES[declaration]) for declaration in chosen) + 1):
            cells = [EDGES[d][row] if row < len(EDGES[d]) else "NULL" for d in chosen]
            names = ", ".join(["id", *(f"c{n}" for n in range(len(chosen)))])
            inserts.append(f"INSERT INTO {name} ({names}) VALUES ({row}, {', '.join(cells)})")
        yield name, create, inserts
