"""Statements planned with the catalog of a real server."""

from __future__ import annotations

import pymysql
from pymysql.connections import Connection

from parser.analyse import parse
from parser.shape import lexer
from proxy.back.catalog import Catalog
from proxy.back.catalog_loader import build, queries
from proxy.front.values import TextValues
from proxy.plan.plan import Plan
from proxy.plan.planner import plan
from proxy.rules.model import Rules
from tests.servers import MariaDB, Run

DATABASE = "shop"
HEAD = """\
turnout: 1
listen: {mysql: 127.0.0.1:3307}
users: {app: {password: secret}}
service: {user: turnout, password: secret}
clusters: {main: {primary: 127.0.0.1:3306}}
"""


def connect(server: MariaDB) -> Connection:
    return pymysql.connect(
        host="127.0.0.1", port=server.port, user="root", database=DATABASE, autocommit=True, charset="utf8mb4"
    )


def server_with(run: Run, name: str, schema: str) -> MariaDB:
    """A server whose database `shop` is made by `schema`: statements with `;` at the end of a line between them."""
    server = run.mariadb(name)
    server.execute(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
    connection = connect(server)
    with connection.cursor() as cursor:
        for statement in schema.split(";\n"):
            cursor.execute(statement)
    connection.close()
    return server


def catalog_of(server: MariaDB) -> Catalog:
    """The catalog of the database, as of the cluster `main`."""
    connection = connect(server)
    rows = {}
    with connection.cursor() as cursor:
        for what, sql in queries([DATABASE]).items():
            cursor.execute(sql)
            rows[what] = [[None if cell is None else str(cell) for cell in row] for row in cursor.fetchall()]
    connection.close()
    return Catalog(build("main", rows))


def planned(sql: str, rules: Rules, catalog: Catalog) -> tuple[Plan, TextValues]:
    """The plan of a text statement, and the values that it has."""
    shape, literals = lexer().shape(sql.encode())
    return plan(parse(shape, literals, lexer=lexer()), rules, catalog, DATABASE), TextValues(literals, lexer())
