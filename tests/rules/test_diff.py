"""What a change of the rules would do."""

from __future__ import annotations

import pytest

from proxy.rules.diff import Severity, diff
from tests.rules.texts import SECTIONS, rules, shop

INFO, CAUTION, RESTART = Severity.INFO, Severity.CAUTION, Severity.RESTART

Sections = dict[str, str | None]
HASH = "shardings: {customer: {method: hash, clusters: [shard0, shard1]}}\n"
SHARDED = shop("orders: {sharding: customer, key: id}", "customers: {sharding: customer, key: id}")


def hash_slots(slots: str) -> str:
    return f"shardings: {{customer: {{method: hash, slots: {{{slots}}}}}}}\n"


def ranges(*parts: str) -> str:
    return f"shardings: {{customer: {{method: range, ranges: [{', '.join(parts)}]}}}}\n"


def values(text: str) -> str:
    return f"shardings: {{customer: {{method: list, {text}}}}}\n"


def directory(more: str, table: str = "shop.owners") -> str:
    return f"shardings: {{customer: {{method: directory, table: {table}, {more}}}}}\n"


CASES: dict[str, tuple[Sections, Sections, list[tuple[Severity, str, str]]]] = {
    "nothing": ({}, {}, []),
    "only another way to write it": (
        {"x": HASH + SHARDED},
        {"x": hash_slots("shard0: 0-2047, shard1: 2048-4095") + SHARDED},
        [],
    ),
    "a directory": (
        {"x": HASH + SHARDED},
        {"x": directory("clusters: [shard0, shard1]") + SHARDED},
        [(CAUTION, "shardings.customer", "changes its method from hash to directory, so any key may move. The rows")],
    ),
    "a directory's weights": (
        {"x": directory("clusters: [shard0, shard1]") + SHARDED},
        {"x": directory("clusters: [shard0, shard1], weights: {shard0: 5}") + SHARDED},
        [],
    ),
    "a directory's clusters": (
        {"x": directory("clusters: [shard0, shard1]") + SHARDED},
        {"x": directory("clusters: [shard1, media, main], weights: {main: 0}", "shop.others") + SHARDED},
        [
            (
                CAUTION,
                "shardings.customer",
                "takes its keys from shop.others and no longer from shop.owners, so any key may move; loses `shard0`: "
                "statements for keys that the directory has there are refused; places new keys on `media` too, which a "
                "Turnout with the old rules does not ask",
            )
        ],
    ),
    "listen": (
        {},
        {"listen": "listen: {mysql: 127.0.0.1:3308, http: 127.0.0.1:9, max_connections: 5}"},
        [
            (RESTART, "listen.mysql", "changes from 127.0.0.1:3307 to 127.0.0.1:3308: this needs a restart."),
            (RESTART, "listen.http", "changes from none to 127.0.0.1:9: this needs a restart."),
            (INFO, "listen.max_connections", "changes from 10000 to 5 for each worker."),
        ],
    ),
    "what clients may say": (
        {},
        {"listen": "listen: {mysql: 127.0.0.1:3307, compression: off, proxy_protocol: [10.0.0.0/8, unix]}"},
        [
            (INFO, "listen.compression", "changes from zlib to off for new clients."),
            (CAUTION, "listen.proxy_protocol", "changes from none to 10.0.0.0/8, unix: connections from there have"),
        ],
    ),
    "workers": ({}, {"x": "workers: 3"}, [(RESTART, "workers", "changes from 1 to 3: this needs a restart.")]),
    "scheduling": (
        {},
        {"x": "scheduling: normal"},
        [(INFO, "scheduling", "changes from batch to normal for the workers that run.")],
    ),
    "busy polling": (
        {"x": "busy_poll: scatter"},
        {"x": "busy_poll: off"},
        [(INFO, "busy_poll", "changes from scatter to off for the workers that run.")],
    ),
    "busy polling, not said": (
        {},
        {"x": "busy_poll: all"},
        [(INFO, "busy_poll", "changes from what suits the machine to all for the workers that run.")],
    ),
    "users": (
        {"users": "users: {a: {password: old}, b: {password: x}, c: {password: x}}"},
        {
            "users": "users: {a: {password: new}, c: {password: x, admin: true, auth: mysql_native_password},"
            " d: {password: x}}"
        },
        [
            (INFO, "users.d", "is added: the same account, with the same password, must be on every server"),
            (CAUTION, "users.b", "is removed: it can no longer log in."),
            (CAUTION, "users.a", "gets another password: applications and every server must have it"),
            (INFO, "users.c", "becomes an administrator."),
            (INFO, "users.c", "logs in with mysql_native_password."),
        ],
    ),
    "users no longer": (
        {"users": "users: {c: {password: x, admin: true, auth: mysql_native_password}}"},
        {"users": "users: {c: {password: x}}"},
        [
            (INFO, "users.c", "is no longer an administrator."),
            (INFO, "users.c", "logs in with the plugin that the client prefers."),
        ],
    ),
    "users_from": ({}, {"x": "users_from: main"}, [(CAUTION, "users_from", "changes from none to `main`")]),
    "service password": (
        {},
        {"service": "service: {user: turnout, password: other}"},
        [(CAUTION, "service", "gets another password")],
    ),
    "service account": (
        {},
        {"service": "service: {user: other, password: s}"},
        [(CAUTION, "service", "changes from `turnout` to `other`: the account must be on the servers.")],
    ),
    "cluster added": (
        {},
        {"clusters": f"{SECTIONS['clusters']}\n  more: {{primary: x:1, replicas: [y:1]}}"},
        [(INFO, "clusters.more", "is added: pools to x:1, y:1 are opened.")],
    ),
    "cluster removed": (
        {"clusters": f"{SECTIONS['clusters']}\n  more: {{primary: x:1}}"},
        {},
        [(CAUTION, "clusters.more", "is removed: pools to x:1 are closed")],
    ),
    "cluster changed": (
        {"clusters": "clusters: {main: {primary: a:1, replicas: [b:1, c:1]}}"},
        {"clusters": "clusters: {main: {primary: d:1, replicas: [b:1, e:1, f:1], max_connections: 5, tls: {}}}"},
        [
            (CAUTION, "clusters.main.primary", "changes from a:1 to d:1: writes go there, nothing is copied"),
            (INFO, "clusters.main.replicas", "`e:1` and `f:1` are added: it must replicate from d:1"),
            (INFO, "clusters.main.replicas", "`c:1` is removed: pools are closed"),
            (INFO, "clusters.main.tls", "is added: new connections follow it."),
            (INFO, "clusters.main.max_connections", "changes from 100 to 5 for each server and worker."),
        ],
    ),
    "cluster service": (
        {"clusters": "clusters: {main: {primary: a:1, service: {user: u, password: p}}}"},
        {"clusters": "clusters: {main: {primary: a:1}}"},
        [(CAUTION, "clusters.main.service", "is removed: the account `u` is no longer used.")],
    ),
    "table to a cluster": (
        {"x": shop("photos: {}")},
        {"x": shop("photos: {cluster: media}")},
        [
            (
                CAUTION,
                "databases.shop.tables.photos",
                "table shop.photos moves from `main` to `media`: its rows are NOT copied: copy them while nothing",
            )
        ],
    ),
    "table to a cluster, from no entry": (
        {"x": shop("a: {}")},
        {"x": shop("a: {}", "photos: {cluster: media}")},
        [(CAUTION, "databases.shop.tables.photos", "table shop.photos moves from `main` to `media`")],
    ),
    "table back home": (
        {"x": shop("photos: {cluster: media}")},
        {"x": shop("a: {}")},
        [(CAUTION, "databases.shop.tables.photos", "table shop.photos moves from `media` to `main`")],
    ),
    "table in an entry that says what held before": ({"x": shop("a: {}")}, {"x": shop("A: {cluster: main}")}, []),
    "table sharded": (
        {"x": HASH + shop("orders: {cluster: media}")},
        {"x": HASH + shop("orders: {sharding: customer, key: id}")},
        [
            (
                CAUTION,
                "databases.shop.tables.orders",
                "table shop.orders changes from `media` to sharding `customer` by `id`",
            )
        ],
    ),
    "table's key": (
        {"x": HASH + shop("orders: {sharding: customer, key: id}")},
        {"x": HASH + shop("orders: {sharding: customer, key: customer_id}")},
        [
            (
                CAUTION,
                "databases.shop.tables.orders",
                "table shop.orders changes from sharding `customer` by `id` to sharding `customer` by `customer_id`",
            )
        ],
    ),
    "table everywhere": (
        {"x": shop("a: {}")},
        {"x": shop("a: {everywhere: true}")},
        [
            (
                CAUTION,
                "databases.shop.tables.a",
                "table shop.a changes from `main` to everywhere: its rows are NOT copied",
            )
        ],
    ),
    "table no longer everywhere": (
        {"x": shop("a: {everywhere: true}")},
        {"x": shop("a: {cluster: media}")},
        [(CAUTION, "databases.shop.tables.a", "table shop.a, so far everywhere, is on `media`: the copies on other")],
    ),
    "table from everywhere to shards": (
        {"x": HASH + shop("a: {everywhere: true}")},
        {"x": HASH + shop("a: {sharding: customer, key: id}")},
        [
            (
                CAUTION,
                "databases.shop.tables.a",
                "table shop.a, so far everywhere, is sharding `customer` by `id`: every clu",
            )
        ],
    ),
    "table everywhere and a new cluster": (
        {"x": shop("a: {everywhere: true}")},
        {"clusters": f"{SECTIONS['clusters']}\n  more: {{primary: x:1}}", "x": shop("a: {everywhere: true}")},
        [
            (INFO, "clusters.more", "is added"),
            (CAUTION, "databases.shop.tables.a", "table shop.a is everywhere, so `more` must have a full copy first"),
        ],
    ),
    "home": (
        {"x": "databases: {crm: {home: main}, shop: {home: main, tables: {a: {}, b: {cluster: main}}}}"},
        {"x": "databases: {crm: {home: main}, shop: {home: media, tables: {a: {}, b: {cluster: main}}}}"},
        [
            (
                CAUTION,
                "databases.shop.home",
                "moves its home from `main` to `media`: tables without a rule of their own",
            ),
            (CAUTION, "databases.shop.tables.a", "table shop.a moves from `main` to `media`"),
        ],
    ),
    "first home": (
        {"x": "databases: {shop: {home: main}}"},
        {"x": "databases: {crm: {home: media}, shop: {home: main}}"},
        [
            (
                CAUTION,
                "databases",
                "databases without an entry, and statements without a database, go to `media` and no",
            ),
            (CAUTION, "databases.crm.home", "moves its home from `main` to `media`"),
        ],
    ),
    "reads": (
        {"x": shop("a: {}", "b: {reads: {from: replicas}}", "c: {reads: {from: primary}}")},
        {
            "x": shop(
                "a: {}",
                "b: {reads: {from: primary}}",
                "c: {reads: {from: primary}}",
                reads="{from: replicas, max_lag: 500ms, own_writes: false}",
            )
        },
        [
            (
                INFO,
                "databases.shop.reads",
                "are from replicas at most 500ms behind, without waiting for own writes, and were from the primary.",
            ),
            (
                INFO,
                "databases.shop.tables.b.reads",
                "are from the primary, and were from replicas at most 5s behind, with own writes.",
            ),
            (INFO, "databases.shop.tables.c.reads", "are from the primary, and were"),
        ],
    ),
    "sharding added and removed": (
        {"x": HASH},
        {"x": "shardings: {owner: {method: hash, clusters: [shard1]}}"},
        [(INFO, "shardings.owner", "is added, over `shard1`."), (INFO, "shardings.customer", "is removed.")],
    ),
    "slots": (
        {"x": HASH + SHARDED},
        {"x": hash_slots("shard0: 0-1023, shard1: 2048-3071, media: '1024-2047, 3072-4095'") + SHARDED},
        [
            (
                CAUTION,
                "shardings.customer",
                "moves 2048 of 4096 slots, 50.0% of the keys: 1024-2047 from `shard0` to `media`; "
                "3072-4095 from `shard1` to `media`. The rows of `shop.orders` and `shop.customers` are NOT copied.",
            )
        ],
    ),
    "slots of no table": (
        {"x": HASH},
        {"x": hash_slots("shard0: 0-2048, shard1: 2049-4095")},
        [
            (
                INFO,
                "shardings.customer",
                "moves 1 of 4096 slots, 0.0% of the keys: 2048 from `shard1` to `shard0`. No tab",
            )
        ],
    ),
    "method": (
        {"x": HASH + SHARDED},
        {"x": ranges("{cluster: shard0}") + SHARDED},
        [(CAUTION, "shardings.customer", "changes its method from hash to range, so any key may move.")],
    ),
    "ranges": (
        {"x": ranges("{below: 10, cluster: shard0}", "{below: 20, cluster: shard1}", "{cluster: media}") + SHARDED},
        {"x": ranges("{below: 5, cluster: shard1}", "{below: 15, cluster: shard0}", "{cluster: shard1}") + SHARDED},
        [
            (
                CAUTION,
                "shardings.customer",
                "moves the keys below 5 from `shard0` to `shard1`; moves the keys from 10 below 15 from `shard1` to "
                "`shard0`; moves the keys from 20 from `media` to `shard1`. The rows of",
            )
        ],
    ),
    "ranges cut in two that stay": (
        {"x": ranges("{below: 10, cluster: shard0}", "{cluster: shard1}") + SHARDED},
        {"x": ranges("{below: 5, cluster: shard0}", "{below: 10, cluster: shard0}", "{cluster: shard1}") + SHARDED},
        [],
    ),
    "ranges that move together": (
        {"x": ranges("{below: b, cluster: shard0}", "{below: d, cluster: shard0}", "{cluster: media}") + SHARDED},
        {"x": ranges("{below: c, cluster: shard1}", "{below: d, cluster: shard1}", "{cluster: media}") + SHARDED},
        [(CAUTION, "shardings.customer", "moves the keys below 'd' from `shard0` to `shard1`. The rows")],
    ),
    "ranges, all": (
        {"x": ranges("{cluster: shard0}") + SHARDED},
        {"x": ranges("{cluster: shard1}") + SHARDED},
        [(CAUTION, "shardings.customer", "moves all keys from `shard0` to `shard1`. The rows")],
    ),
    "ranges of another type": (
        {"x": ranges("{below: 5, cluster: shard0}", "{cluster: shard1}") + SHARDED},
        {"x": ranges("{below: a, cluster: shard0}", "{cluster: shard1}") + SHARDED},
        [(CAUTION, "shardings.customer", "changes the type of its bounds, so any key may move.")],
    ),
    "values": (
        {"x": values("values: {shard0: [1, 2, 3], shard1: [4]}") + SHARDED},
        {"x": values("values: {shard0: [1, 5], shard1: [2]}, default: media") + SHARDED},
        [
            (
                CAUTION,
                "shardings.customer",
                "moves the keys 2 from `shard0` to `shard1`; moves the keys 3 from `shard0` to `media`; "
                "moves the keys 4 from `shard1` to `media`; takes the keys 5, refused so far, to `shard0`; "
                "sends keys that it does not name to `media` and no longer to a refusal. The rows",
            )
        ],
    ),
    "values refused": (
        {"x": values("values: {shard0: [a, b, c, d, e, f, g]}") + SHARDED},
        {"x": values("values: {shard0: [a]}") + SHARDED},
        [(CAUTION, "shardings.customer", "refuses the keys 'b', 'c', 'd', 'e', 'f' and 1 more, so far on `shard0`.")],
    ),
    "transactions": (
        {},
        {"x": "transactions: best_effort"},
        [(CAUTION, "transactions", "changes to best_effort: a transaction may write on several clusters")],
    ),
    "workbench": (
        {"x": ""},
        {"x": "workbench: {cluster: media}"},
        [(INFO, "workbench", "SELECTs over several clusters that cannot be merged are finished on media")],
    ),
    "workbench, limits": (
        {"x": "workbench: {cluster: media}"},
        {"x": "workbench: {cluster: media, max_rows: 10, max_time: 1s}"},
        [
            (INFO, "workbench.max_rows", "changes from 1000000 to 10."),
            (INFO, "workbench.max_time", "changes from 30s to 1s."),
        ],
    ),
    "workbench off": (
        {"x": "workbench: {cluster: media}"},
        {"x": "workbench: off"},
        [(CAUTION, "workbench", "is off: SELECTs that were finished there are refused.")],
    ),
    "transactions atomic": (
        {"x": "transactions: single"},
        {"x": "transactions: atomic"},
        [
            (
                CAUTION,
                "transactions",
                "changes to atomic: a transaction may write on several clusters, and commits on all",
            )
        ],
    ),
    "transactions back": (
        {"x": "transactions: best_effort"},
        {"x": "transactions: single"},
        [(CAUTION, "transactions", "changes to single: a transaction that writes on a second cluster is refused.")],
    ),
    "what servers hear": (
        {},
        {
            "clusters": SECTIONS["clusters"].replace(
                "{primary", "{cores: 16, compression: zlib, proxy_protocol: v1, primary", 1
            )
        },
        [
            (INFO, "clusters.main.compression", "changes from off to zlib: its pools are opened anew."),
            (CAUTION, "clusters.main.proxy_protocol", "changes from off to v1: its pools are opened anew"),
            (INFO, "clusters.main.cores", "changes from not said to 16, for advice alone."),
        ],
    ),
    "limits": (
        {"x": "limits: {idle: 1h}"},
        {"x": "limits: {statement: 30s, session_memory: 1MB, logins_per_address: 0}"},
        [
            (INFO, "limits.logins_per_address", "changes from 2000 to 0."),
            (INFO, "limits.idle", "changes from 1h to none."),
            (INFO, "limits.statement", "changes from none to 30s."),
            (INFO, "limits.session_memory", "changes from 256MB to 1MB."),
        ],
    ),
    "history": (
        {},
        {"x": "history: {file: h.sqlite}"},
        [(RESTART, "history.file", "changes from none to ")],
    ),
    "tuning": (
        {},
        {"x": "health: {every: 500ms}\npool: {max_waiters: 7, max_age: 90s}\nlimits: {max_packet: 1GB, drain: 0}"},
        [
            (INFO, "health.every", "changes from 1s to 500ms."),
            (INFO, "pool.max_waiters", "changes from 5000 to 7."),
            (INFO, "pool.max_age", "changes from 1h to 90s."),
            (INFO, "limits.drain", "changes from 30s to 0s."),
            (INFO, "limits.max_packet", "changes from 64MB to 1GB."),
        ],
    ),
}


@pytest.mark.parametrize(("old", "new", "expected"), CASES.values(), ids=CASES.keys())
def test_each_change_is_told(old: Sections, new: Sections, expected: list[tuple[Severity, str, str]]) -> None:
    changes = diff(rules(**old), rules(**new))
    assert [(change.severity, change.where) for change in changes] == [one[:2] for one in expected]
    for change, (_, _, message) in zip(changes, expected, strict=True):
        assert change.message.startswith(message)
        assert change.message.endswith(".")


@pytest.mark.parametrize("old", [case[1] for case in CASES.values()], ids=CASES.keys())
def test_no_change_is_told_of_the_same_rules(old: Sections) -> None:
    assert diff(rules(**old), rules(**old)) == ()


def test_no_password_is_told() -> None:
    old = rules(users="users: {a: {password: hunter2}}", service="service: {user: t, password: hunter3}")
    new = rules(users="users: {a: {password: hunter4}}", service="service: {user: t, password: hunter5}")
    assert "hunter" not in "".join(str(change) for change in diff(old, new))


def test_a_change_prints_its_severity() -> None:
    (change,) = diff(rules(), rules(x="workers: 2"))
    assert str(change) == "restart: workers: changes from 1 to 2: this needs a restart."
