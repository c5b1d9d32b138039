"""What a rules file becomes when it is right."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from proxy.rules.loader import load, parse, warnings
from proxy.rules.model import (
    Address,
    AuthPlugin,
    Cluster,
    Compression,
    Database,
    Health,
    History,
    Limits,
    Listen,
    Method,
    Pool,
    ProxyHeader,
    ReadFrom,
    Reads,
    Rules,
    ServiceAccount,
    Sharding,
    Table,
    Transactions,
    User,
)
from tests.rules.texts import FILE, rules, shop, text
from tests.servers.tls import Authority

ROOT = Path(__file__).resolve().parents[2]
HASH = "shardings: {customer: {method: hash, clusters: [shard0, shard1]}}\n"


def test_the_smallest_file() -> None:
    source = text(
        users="users: {app: {password: a}}",
        clusters="clusters: {main: {primary: 127.0.0.1:3306}}",
    )
    assert parse(source, FILE, {}) == Rules(
        path=FILE,
        listen=Listen(Address("127.0.0.1", 3307)),
        workers=1,
        users={"app": User("app", "a")},
        clusters={"main": Cluster("main", Address("127.0.0.1", 3306))},
        default_home="main",
        service=ServiceAccount("turnout", "s"),
        text=source,
    )


def test_everything_that_can_be_written(tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue("server")
    assert (issued.ca.name, issued.cert.name, issued.key.name) == ("ca.pem", "server.pem", "server.key")
    (tmp_path / "secret").write_text("from file \r\n")
    source = """
turnout: 1
listen:
  mysql: "[::1]:3307"
  http: /run/turnout/http.sock
  tls: {cert: server.pem, key: server.key, client_ca: ca.pem, require: true}
  max_connections: 5
  compression: off
  proxy_protocol: [10.0.0.0/8, "2001:db8::7", unix]
workers: 3
users:
  app: {password_env: APP, auth: mysql_native_password, result_rows: 0, result_bytes: 1KB}
  ops: {password_file: secret, admin: true, auth: caching_sha2_password}
  null: {password: ""}
users_from: main
clusters:
  main:
    primary: db.example.com:3306
    replicas: [10.0.0.2:3306, 10.0.0.3:3306]
    service: {user: other, password: "5"}
    tls: {ca: ca.pem, cert: server.pem, key: server.key}
    max_connections: 7
    compression: zlib
    proxy_protocol: v2
    cores: 16
  b-2: {primary: /run/mysqld/mysqld.sock, replicas: , tls: {verify: false}}
service: {user: turnout, password_env: TURNOUT}
shardings:
  h: {method: hash, slots: {main: ["0-99", 200, "4000-4095"], b-2: "100-199, 201-3999"}}
  r: {method: range, ranges: [{below: 2025-01-01, cluster: main}, {below: "2026", cluster: b-2}, {cluster: main}]}
  n: {method: range, ranges: [{below: -5, cluster: b-2}, {below: 0, cluster: main}, {cluster: b-2}]}
  l: {method: list, values: {b-2: [no, us], main: [de]}}
  d: {method: list, values: {b-2: [1, 2]}, default: main}
databases:
  shop:
    home: b-2
    reads: {from: replicas, max_lag: 500ms, own_writes: false}
    tables:
      Photos: {cluster: main, reads: {max_lag: 2m}}
      orders: {sharding: h, key: Customer_Id}
      logs: {sharding: r, key: at, reads: {from: primary}}
      countries: {everywhere: true}
      plain:
      empty: {}
  crm: {home: main, tables: }
transactions: best_effort
workbench: off
health: {every: 250ms, timeout: 1.5, connect_timeout: 2}
pool: {wait: 1s, max_waiters: 2, max_idle: 3s, max_age: 4h, max_statements: 5}
limits:
  {login: 1m, drain: 0, max_packet: 16MB, slow_statement: 0.25s, shapes: 9, logins_per_second: 7, logins_per_address: 0,
   idle: 1h, statement: 90s, session_memory: 1MB, result_rows: 5, result_bytes: 1MB}
history: {file: var/history.sqlite}
"""
    source = source.replace("replicas: , tls", "tls")
    found = parse(source, tmp_path / "rules.yaml", {"APP": "from env", "TURNOUT": "t"})
    assert found.listen.mysql == Address("::1", 3307)
    assert found.listen.http == Address(path="/run/turnout/http.sock")
    assert found.listen.max_connections == 5
    assert found.listen.compression is Compression.OFF
    trusted = found.listen.proxy_protocol
    assert str(trusted) == "10.0.0.0/8, 2001:db8::7/128, unix"
    inside = [trusted.covers(host) for host in ("10.9.8.7", "11.0.0.1", "2001:db8::7", "2001:db8::8", "")]
    assert inside == [True, False, True, False, True]
    assert found.listen.tls is not None
    assert found.listen.tls.cert == tmp_path / "server.pem"
    assert found.listen.tls.client_ca == tmp_path / "ca.pem"
    assert found.listen.tls.require
    assert found.workers == 3
    assert found.users == {
        "app": User("app", "from env", auth=AuthPlugin.NATIVE, result_rows=0, result_bytes=1024),
        "ops": User("ops", "from file ", admin=True, auth=AuthPlugin.CACHING_SHA2),
        "null": User("null", ""),
    }
    assert found.users_from == "main"
    main, other = found.clusters["main"], found.clusters["b-2"]
    assert main.primary == Address("db.example.com", 3306)
    assert main.replicas == (Address("10.0.0.2", 3306), Address("10.0.0.3", 3306))
    assert main.service == ServiceAccount("other", "5")
    assert main.tls is not None
    assert (main.tls.ca, main.tls.key, main.tls.verify) == (tmp_path / "ca.pem", tmp_path / "server.key", True)
    assert main.max_connections == 7
    assert (main.compression, main.proxy_protocol, main.cores) == (Compression.ZLIB, ProxyHeader.V2, 16)
    assert (other.compression, other.proxy_protocol, other.cores) == (Compression.OFF, ProxyHeader.OFF, None)
    assert found.tls_files == tuple(tmp_path / name for name in ("server.pem", "server.key", "ca.pem"))
    assert found.tells_origins
    assert other.tls is not None
    assert (other.tls.ca, other.tls.verify, other.primary) == (None, False, Address(path="/run/mysqld/mysqld.sock"))
    assert found.default_home == "b-2"
    hashed = found.shardings["h"]
    assert hashed.method is Method.HASH
    assert hashed.clusters == ("main", "b-2")
    assert [hashed.slots[slot] for slot in (0, 99, 100, 199, 200, 201, 3999, 4000, 4095)] == [
        "main", "main", "b-2", "b-2", "main", "b-2", "b-2", "main", "main",
    ]  # fmt: skip
    assert found.shardings["r"] == Sharding(
        "r", Method.RANGE, ("main", "b-2"), ranges=(("2025-01-01", "main"), ("2026", "b-2"), (None, "main"))
    )
    assert found.shardings["n"].ranges == ((-5, "b-2"), (0, "main"), (None, "b-2"))
    assert found.shardings["n"].clusters == ("b-2", "main")
    assert found.shardings["l"] == Sharding(
        "l", Method.LIST, ("b-2", "main"), values={"no": "b-2", "us": "b-2", "de": "main"}
    )
    assert found.shardings["d"] == Sharding(
        "d", Method.LIST, ("b-2", "main"), values={1: "b-2", 2: "b-2"}, default="main"
    )
    replicas = Reads(ReadFrom.REPLICAS, 0.5, own_writes=False)
    assert found.databases["shop"] == Database(
        "shop",
        "b-2",
        replicas,
        {
            "Photos": Table("shop", "Photos", "main", Reads(ReadFrom.REPLICAS, 120.0, own_writes=False)),
            "orders": Table("shop", "orders", "", replicas, sharding=hashed, key="customer_id"),
            "logs": Table(
                "shop", "logs", "", Reads(ReadFrom.PRIMARY, 0.5, own_writes=False), found.shardings["r"], "at"
            ),
            "countries": Table("shop", "countries", "b-2", replicas, everywhere=True),
            "plain": Table("shop", "plain", "b-2", replicas),
            "empty": Table("shop", "empty", "b-2", replicas),
        },
    )
    assert found.databases["crm"] == Database("crm", "main", Reads(), {})
    assert found.transactions is Transactions.BEST_EFFORT
    assert found.health == Health(0.25, 1.5, 2.0)
    assert found.pool == Pool(1.0, 2, 3.0, 4 * 3600.0, 5)
    assert found.history == History(tmp_path / "var" / "history.sqlite")
    assert found.limits == Limits(60.0, 0.0, 16 << 20, 0.25, 7, 0, 3600.0, 90.0, 1 << 20, 5, 1 << 20, 9)


def test_names_are_found_in_another_case() -> None:
    found = rules(x=shop("Photos: {cluster: media}"))
    assert found.table("shop", "Photos") is found.table("SHOP", "photos")
    assert found.table("shop", "photo") is None
    assert found.home("SHOP") == "main"
    assert found.table(None, "Photos") is None
    assert found.database("other") is None


def test_a_database_without_an_entry_lives_on_the_first_home() -> None:
    found = rules(x="databases: {crm: {home: media}, shop: {home: main}}")
    assert found.default_home == "media"
    assert (found.home(None), found.home("unknown"), found.home("shop")) == ("media", "media", "main")
    assert rules().default_home == "main"


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 4096])
def test_slots_are_dealt_evenly_in_order(count: int) -> None:
    names = [f"s{number}" for number in range(count)]
    clusters = "clusters: {" + ", ".join(f"{name}: {{primary: {name}:1}}" for name in names) + "}"
    found = rules(clusters=clusters, x=f"shardings: {{h: {{method: hash, clusters: [{', '.join(names)}]}}}}")
    slots = found.shardings["h"].slots
    assert len(slots) == 4096
    assert list(dict.fromkeys(slots)) == names
    shares = [slots.count(name) for name in names]
    assert max(shares) - min(shares) <= 1
    assert list(slots) == sorted(slots, key=names.index)


def test_auto_is_a_worker_for_each_usable_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 3, 5})
    assert rules(x="workers: auto").workers == 3


def test_the_password_of_the_environment_is_read_when_the_file_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text(users="users: {app: {password_env: TURNOUT_TEST_PASSWORD}}"))
    monkeypatch.setenv("TURNOUT_TEST_PASSWORD", "late")
    assert load(file).users["app"].password == "late"


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line_break", [b"\n", b"\r\n"])
def test_byte_order_marks_and_line_breaks_of_other_systems(tmp_path: Path, prefix: bytes, line_break: bytes) -> None:
    file = tmp_path / "rules.yaml"
    file.write_bytes(prefix + text(x=shop("photos: {cluster: media}")).encode().replace(b"\n", line_break))
    assert load(file, {}).databases["shop"].tables["photos"].cluster == "media"


def test_passwords_stay_out_of_reprs() -> None:
    found = rules(users="users: {app: {password: hunter2}}", service="service: {user: t, password: hunter2}")
    assert "hunter2" not in repr(found)


def test_rules_can_be_sent_to_another_process() -> None:
    found = rules(x=HASH + shop("orders: {sharding: customer, key: id}"))
    assert pickle.loads(pickle.dumps(found)) == found


def test_the_example_of_the_repository() -> None:
    found = load(ROOT / "routing_rules.yaml", {})
    assert warnings(found) == ()
    assert {name: str(cluster.primary) for name, cluster in found.clusters.items()} == {
        "main": "127.0.0.1:3306",
        "media": "127.0.0.1:3326",
        "shard0": "127.0.0.1:3336",
        "shard1": "127.0.0.1:3346",
    }
    assert found.clusters["main"].replicas == (Address("127.0.0.1", 3316),)
    assert (found.listen.mysql.port, found.listen.http) == (3307, Address("127.0.0.1", 9307))
    assert [user.name for user in found.users.values() if user.admin] == ["ops"]
    tables = found.databases["shop"].tables
    assert tables["photos"].cluster == "media"
    assert (tables["customers"].key, tables["orders"].key) == ("id", "customer_id")
    assert tables["orders"].sharding is tables["customers"].sharding
    assert tables["countries"].everywhere
    assert (tables["accounts"].reads.source, tables["photos"].reads.source) == (ReadFrom.PRIMARY, ReadFrom.REPLICAS)
    assert found.transactions is Transactions.BEST_EFFORT
    assert (found.health, found.pool, found.limits) == (Health(), Pool(), Limits())


@pytest.mark.parametrize(
    "comment", ["by_year", "by_region", "history", "health", "pool", "limits", "users_from", "max_connections"]
)
def test_the_commented_examples_are_right(comment: str) -> None:
    """A line of the example that is commented out can be uncommented as it stands."""
    lines = (ROOT / "routing_rules.yaml").read_text().split("\n")
    hits = [number for number, line in enumerate(lines) if line.strip().startswith(f"# {comment}:")]
    assert hits, f"the example has no comment {comment}"
    for number in hits:
        changed = list(lines)
        changed[number] = changed[number].replace("# ", "", 1)
        parse("\n".join(changed), ROOT / "routing_rules.yaml", {})


USED = shop("everywhere: {everywhere: true}")  # no cluster is without a table
WARNINGS = [
    ({"users": "users: {app: {password: a}}", "x": USED}, 3, "users", "has no account that may use SHOW TURNOUT"),
    ({"users": "users:\n  a@b: {password: a, admin: true}", "x": USED}, 4, "users.a@b", "is a whole name here"),
    ({"users": 'users:\n  a: {password: "", admin: true}', "x": USED}, 4, "users.a", "has no password"),
    (
        {"x": HASH + USED + "\n      orders: {sharding: customer, key: id, reads: {from: replicas}}"},
        16,
        "databases.shop.tables.orders.reads.from",
        "`shard0` and `shard1` have no replicas, so reads go to the primary.",
    ),
    (
        {"x": USED + "\n  crm:\n    home: media\n    reads:\n      from: replicas"},
        18,
        "databases.crm.reads.from",
        "`media` has no replicas",
    ),
    ({"x": HASH + USED}, 10, "shardings.customer", "is not used by any table"),
    (
        {"clusters": "clusters:\n  main: {primary: a:1}\n  x: {primary: b:1}"},
        6,
        "clusters.x",
        "has no table: nothing names it",
    ),
]


@pytest.mark.parametrize(("sections", "line", "where", "message"), WARNINGS)
def test_each_warning_has_its_line(sections: dict[str, str], line: int, where: str, message: str) -> None:
    (problem,) = warnings(rules(**sections))
    assert (problem.line, problem.where) == (line, where)
    assert problem.message.startswith(message)


def test_what_is_well_known_is_not_warned_of() -> None:
    """Reads from replicas by default, with replicas on home alone, are what the example does."""
    sections = HASH + shop(
        "a: {cluster: media}", "b: {sharding: customer, key: id}", "c: {everywhere: true}", reads="{from: replicas}"
    )
    assert warnings(rules(x=sections)) == ()


def test_rules_without_a_file_can_be_judged() -> None:
    made = Rules(
        path=Path("none"),
        listen=Listen(Address("127.0.0.1", 1)),
        workers=1,
        users={"a": User("a", "b")},
        clusters={"m": Cluster("m", Address("127.0.0.1", 2))},
        default_home="m",
    )
    (problem,) = warnings(made)
    assert str(problem).startswith("none: users: has no account")


def test_directories() -> None:
    from tests.rules.texts import rules, shop

    found = rules(
        x="""
shardings:
  d: {method: directory, table: Shop.Owners, clusters: [shard1, shard0], weights: {shard0: 3}}
  e: {method: directory, table: shop.all}
""",
        y=shop("owners: {reads: {from: replicas}}"),
    )
    clusters = ("shard1", "shard0")
    weights = {"shard1": 1, "shard0": 3}
    assert found.shardings["d"] == Sharding("d", Method.DIRECTORY, clusters, table="Shop.Owners", weights=weights)
    assert found.shardings["e"].clusters == ("main", "media", "shard0", "shard1")
    assert set(found.shardings["e"].weights.values()) == {1}
    assert found.directories == {"shop.owners": found.shardings["d"], "shop.all": found.shardings["e"]}
