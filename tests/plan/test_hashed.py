"""A shard that is known from a literal's digits alone is the one that the route says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parser.analyse import parse
from parser.shape import lexer
from proxy.errors import StatementRefused
from proxy.front.values import TextValues
from proxy.plan.planner import plan
from proxy.plan.shard_routes import ByKey
from tests.plan import shop

LEXER = lexer()
RULES, CATALOG = shop.rules(), shop.catalog()
STATEMENT = b"SELECT name FROM customers WHERE id = %b"
LITERALS = st.one_of(
    st.integers(-(1 << 70), 1 << 70).map(lambda n: b"%d" % n),
    st.integers(0, 5000).map(lambda n: b"%d" % n),
    st.from_regex(rb"[0-9]{1,45}", fullmatch=True),
    st.sampled_from([b"0", b"00", b"007", b"2147483647", b"2147483648", b"1.0", b"1e2", b"0x1f", b"'7'", b"NULL"]),
)


@given(LITERALS)
def test_digits_are_hashed_as_the_route_hashes_them(literal: bytes) -> None:
    sql = STATEMENT % literal
    shape, literals = LEXER.shape(sql)
    made = plan(parse(shape, literals, lexer=LEXER), RULES, CATALOG, "shop")
    hashed = made.hashed if isinstance(made, ByKey) else None
    if hashed is None:
        return
    found = hashed.cluster(literals)
    if found:
        assert [send.cluster for send in made.route(TextValues(literals, LEXER), sql).sends] == [found]


def test_the_usual_ones_are() -> None:
    for number in (1, 9, 10, 4711, 2147483647):
        shape, literals = LEXER.shape(STATEMENT % (b"%d" % number))
        made = plan(parse(shape, literals, lexer=LEXER), RULES, CATALOG, "shop")
        assert isinstance(made, ByKey)
        assert made.hashed is not None
        assert made.hashed.cluster(literals)


def test_others_are_not() -> None:
    for condition in ("id = '7'", "id = -7", "id IN (7, 8)", "id = 7.5", "id = 0x7"):
        shape, literals = LEXER.shape(b"SELECT name FROM customers WHERE " + condition.encode())
        try:
            made = plan(parse(shape, literals, lexer=LEXER), RULES, CATALOG, "shop")
        except StatementRefused:
            continue
        hashed = made.hashed if isinstance(made, ByKey) else None
        assert hashed is None or not hashed.cluster(literals), condition
