"""Every refusal, with its line.

A case is a set of sections in place of the base file's. A line that must be refused ends in `#! <start of a problem>`,
one for each problem of that line; what is not so marked must not be reported.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.rules.loader import RulesInvalid, load, parse
from proxy.rules.problem import Problem
from tests.rules.texts import FILE, rules, shop, text

HASH = "shardings: {customer: {method: hash, clusters: [shard0, shard1]}}"


def problems(source: str, environ: dict[str, str] | None = None, path: Path = FILE) -> tuple[Problem, ...]:
    with pytest.raises(RulesInvalid) as caught:
        parse(source, path, environ or {})
    return caught.value.problems


def check(source: str, environ: dict[str, str] | None = None) -> None:
    marked = [
        (number, expected.strip())
        for number, line in enumerate(source.splitlines(), 1)
        for expected in line.split("#!")[1:]
    ]
    assert marked, "the case marks no line"
    found = [(one.line, str(one).split(": ", 1)[1]) for one in problems(source, environ)]
    unexpected = list(found)
    for line, expected in marked:
        hit = next((one for one in unexpected if one[0] == line and one[1].startswith(expected)), None)
        assert hit is not None, f"line {line} lacks {expected!r}; found {found}"
        unexpected.remove(hit)
    assert unexpected == []


CASES: dict[str, dict[str, str | None]] = {
    # the file as a whole
    "version": {"turnout": "turnout: 2  #! turnout: must be 1, the version"},
    "version as text": {"turnout": "turnout: '1'  #! turnout: must be 1"},
    "version true": {"turnout": "turnout: true  #! turnout: must be 1"},
    "version missing": {
        "turnout": None,
        "listen": "listen: {mysql: 127.0.0.1:3307}  #! turnout: is missing. Begin the file with `turnout: 1`",
    },
    "unknown section": {"x": "clutsers: {}  #! clutsers: is not a key that is known here. Did you mean `clusters`?"},
    "unknown section, nothing near": {"x": "zzz: 1  #! zzz: is not a key that is known here. Known are `turnout`, `li"},
    "merge key": {"x": "<<: {a: b}  #! <<: is not a key that is known here."},
    # listen
    "listen missing": {"turnout": "turnout: 1  #! listen: is missing. Write `listen:", "listen": None},
    "listen empty": {"listen": "listen:  #! listen: has no value. Write one, or take the key out."},
    "listen scalar": {"listen": "listen: 3307  #! listen: must be a mapping"},
    "listen without mysql": {"listen": "listen: {http: 127.0.0.1:1}  #! listen.mysql: is missing. It is: where app"},
    "listen unknown key": {"listen": "listen: {mysql: 127.0.0.1:3307, htp: x:1}  #! listen.htp: is not a key that"},
    "listen without port": {"listen": "listen: {mysql: 127.0.0.1}  #! listen.mysql: has no port: write `127.0.0.1:`"},
    "listen without host": {"listen": "listen: {mysql: ':3307'}  #! listen.mysql: has no host: write `127.0.0.1:3307`"},
    "listen a number": {"listen": "listen: {mysql: 3307}  #! listen.mysql: must be an address such as"},
    "listen port 0": {"listen": "listen: {mysql: 127.0.0.1:0}  #! listen.mysql: has `0` where a port from 1 to 65535"},
    "listen port 65536": {"listen": "listen: {mysql: 127.0.0.1:65536}  #! listen.mysql: has `65536` where"},
    "listen port text": {"listen": "listen: {mysql: 127.0.0.1:mysql}  #! listen.mysql: has `mysql` where a port"},
    "listen IPv6 bare": {"listen": "listen: {mysql: '::1:3307'}  #! listen.mysql: is an IPv6 address without brackets"},
    "listen IPv6 broken": {"listen": "listen: {mysql: '[::g]:3307'}  #! listen.mysql: is not an IPv6 address"},
    "listen IPv6 no port": {"listen": "listen: {mysql: '[::1]'}  #! listen.mysql: has no port: write `[::1]:`"},
    "listen IPv4 broken": {"listen": "listen: {mysql: 127.0.0.256:1}  #! listen.mysql: has `127.0.0.256`, which"},
    "listen host broken": {"listen": "listen: {mysql: 'a b:1'}  #! listen.mysql: has `a b` where a host"},
    "listen path relative": {"listen": "listen: {mysql: run/x.sock}  #! listen.mysql: must be a socket's path from"},
    "listen path long": {"listen": f"listen: {{mysql: /{'x' * 107}}}  #! listen.mysql: is longer than a socket's path"},
    "listen twice": {"listen": "listen: {mysql: localhost:3307, http: 127.0.0.1:3307}  #! listen.http: is the same"},
    "listen twice, anywhere": {"listen": "listen: {mysql: 0.0.0.0:33, http: 127.0.0.1:33}  #! listen.http: is the sa"},
    "listen at a server": {
        "listen": "listen: {mysql: 127.0.0.1:3306}",
        "clusters": """
clusters:
  main:
    primary: localhost:3306  #! clusters.main.primary: localhost:3306 is where Turnout itself listens (`listen.mysql`)
""",
    },
    "listen anywhere, at a server": {
        "listen": "listen: {mysql: 127.0.0.1:3307, http: '0.0.0.0:3306'}",
        "clusters": "clusters: {main: {primary: 127.0.0.1:3306}}  #! clusters.main.primary: 127.0.0.1:3306 is where",
    },
    "listen at a server's socket": {
        "listen": "listen: {mysql: /tmp/a.sock}",
        "clusters": "clusters: {main: {primary: /tmp/a.sock}}  #! clusters.main.primary: /tmp/a.sock is where",
    },
    "listen max_connections": {
        "listen": "listen: {mysql: 127.0.0.1:3307, max_connections: 0}  #! listen.max_connections: must be at least 1",
    },
    "listen tls files": {
        "listen": """
listen:
  mysql: 127.0.0.1:3307
  tls:
    cert: no.pem        #! listen.tls.cert: there is no file no.pem
    key: no.key         #! listen.tls.key: there is no file no.key
    client_ca: no.ca    #! listen.tls.client_ca: there is no file no.ca
    require: yes        #! listen.tls.require: must be `true` or `false`. Write `true`.
""",
    },
    "listen tls without key": {
        "listen": """
listen:
  mysql: 127.0.0.1:3307
  tls: {cert: no.pem}  #! listen.tls.key: is missing
""",
    },
    "listen compression": {
        "listen": "listen: {mysql: 127.0.0.1:3307, compression: gzip}  #! listen.compression: must be",
    },
    "listen proxy_protocol": {
        "listen": """
listen:
  mysql: 127.0.0.1:3307
  proxy_protocol:
    - 10.0.0.0/8
    - 10.0.0.1/8   #! listen.proxy_protocol[1]: must be an address (`10.0.0.7`), a network without host bits
    - balancer     #! listen.proxy_protocol[2]: must be an address
    - 5            #! listen.proxy_protocol[3]: must be an address
""",
    },
    # workers
    "workers 0": {"x": "workers: 0  #! workers: must be `auto`"},
    "workers text": {"x": "workers: many  #! workers: must be `auto`"},
    "workers true": {"x": "workers: true  #! workers: must be `auto`"},
    "scheduling fifo": {"x": "scheduling: fifo  #! scheduling: must be `batch` or `normal`"},
    "busy_poll always": {"x": "busy_poll: always  #! busy_poll: must be `off` or `scatter` or `all`"},
    "workers fraction": {"x": "workers: 1.5  #! workers: must be `auto`"},
    # users
    "users missing": {"turnout": "turnout: 1  #! users: names no account, so nobody could log in.", "users": None},
    "users empty": {"users": "users: {}  #! users: names no account"},
    "users nothing": {"users": "users:  #! users: names no account"},
    "users a list": {"users": "users: [app]  #! users: must be a mapping: `name: value` lines."},
    "user without value": {"users": "users: {app: }  #! users.app: has no value"},
    "user without password": {"users": "users: {app: {admin: true}}  #! users.app: has no password. Write one of `pas"},
    "user with two passwords": {
        "users": """
users:
  app:
    password: x
    password_env: X  #! users.app.password_env: says the password a second time, beside `password`
""",
    },
    "user password a number": {"users": "users: {app: {password: 5}}  #! users.app.password: must be text, and is a n"},
    "user password true": {"users": "users: {app: {password: true}}  #! users.app.password: must be text, and is a tr"},
    "user password a list": {"users": "users: {app: {password: [a]}}  #! users.app.password: must be text."},
    "user password null": {"users": "users: {app: {password: ~}}  #! users.app.password: has no value"},
    "user password_env unset": {"users": "users: {app: {password_env: NO}}  #! users.app.password_env: the environmen"},
    "user password_env empty": {
        "users": "users: {app: {password_env: EMPTY}}  #! users.app.password_env: the environm"
    },
    "user password_file": {"users": "users: {app: {password_file: no}}  #! users.app.password_file: the file no canno"},
    "user password of two lines": {
        "users": """
users:
  app:
    password: |  #! users.app.password: has a line break in it
      secret
""",
    },
    "user password_env of two lines": {
        "users": "users: {app: {password_env: LINES}}  #! users.app.password_env: has a line break in it",
    },
    "user unknown key": {
        "users": "users: {app: {password: x, pasword: y}}  #! users.app.pasword: is not a key that is known here. Did",
    },
    "user admin": {"users": "users: {a: {password: x, admin: on}}  #! users.a.admin: must be `true` or `false`. Write"},
    "user auth": {
        "users": "users: {a: {password: x, auth: sha2}}  #! users.a.auth: must be `mysql_native_password` or `caching_",
    },
    "user name too long": {"users": f"users: {{{'x' * 81}: {{password: x}}}}  #! users.{'x' * 81}: is longer than"},
    "user reads": {"users": "users: {a: {password: x, reads: r}}  #! users.a.reads: a reporting database is not supp"},
    "user reads, form": {
        "users": "users: {a: {password: x, reads: 1}}  #! users.a.reads: must be text #! users.a.reads: a reporting",
    },
    "users_from unknown": {
        "x": "users_from: mian  #! users_from: `mian` is not a cluster of this file. Did you mean `m"
    },
    "users_from a number": {"users": "users_from: 5  #! users_from: must be text, and is a number"},
    # service
    "service missing": {
        "turnout": "turnout: 1  #! service: is missing: no account watches `main`, `media`, `shard0` and `shard1`. On",
        "service": None,
    },
    "service missing for some": {
        "turnout": "turnout: 1  #! service: is missing: no account watches `b`.",
        "clusters": "clusters: {a: {primary: x:1, service: {user: u, password: p}}, b: {primary: y:1}}",
        "service": None,
    },
    "service without user": {"service": "service: {password: x}  #! service.user: is missing"},
    "service without password": {"service": "service: {user: x}  #! service: has no password"},
    "service password_env": {"service": "service: {user: x, password_env: NO}  #! service.password_env: the environme"},
    "service unknown key": {"service": "service: {user: x, password: y, admin: true}  #! service.admin: is not a key"},
    # clusters
    "clusters missing": {"turnout": "turnout: 1  #! clusters: names no cluster. Write `clusters:", "clusters": None},
    "clusters nothing": {"clusters": "clusters:  #! clusters: names no cluster"},
    "cluster without primary": {"clusters": "clusters: {main: {replicas: [x:1]}}  #! clusters.main.primary: is miss"},
    "cluster primary null": {"clusters": "clusters: {main: {primary: }}  #! clusters.main.primary: has no value"},
    "cluster a scalar": {"clusters": "clusters: {main: 127.0.0.1:3306}  #! clusters.main: must be a mapping"},
    "cluster name": {"clusters": "clusters: {'a b': {primary: x:1}}  #! clusters.a b: is not a cluster's name"},
    "cluster replicas a scalar": {
        "clusters": "clusters: {main: {primary: x:1, replicas: y:1}}  #! clusters.main.replicas: must be a list",
    },
    "cluster replica broken": {
        "clusters": """
clusters:
  main:
    primary: x:1
    replicas:
      - y:1
      - z  #! clusters.main.replicas[1]: has no port
      -    #! clusters.main.replicas[2]: must be an address
""",
    },
    "cluster replica is the primary": {
        "clusters": """
clusters:
  main:
    primary: 127.0.0.1:1
    replicas:
      - 127.0.0.1:2
      - localhost:1  #! clusters.main.replicas[1]: localhost:1 is `clusters.main.primary` already; a server belongs
""",
    },
    "cluster replica twice": {
        "clusters": "clusters: {a: {primary: x:1, replicas: [y:1, Y:1]}}  #! clusters.a.replicas[1]: Y:1 is `clusters.",
    },
    "clusters with one primary": {
        "clusters": """
clusters:
  a: {primary: x:1}
  b: {primary: x:1}  #! clusters.b.primary: x:1 is `clusters.a.primary` already
""",
    },
    "cluster replica elsewhere a primary": {
        "clusters": """
clusters:
  a: {primary: x:1, replicas: ['[::1]:2']}
  b: {primary: '[0:0:0:0:0:0:0:1]:2'}  #! clusters.b.primary: [0:0:0:0:0:0:0:1]:2 is `clusters.a.replicas[0]` already
""",
    },
    "cluster tls files": {
        "clusters": """
clusters:
  main:
    primary: x:1
    tls:
      ca: no.pem    #! clusters.main.tls.ca: there is no file no.pem
      cert: no.pem  #! clusters.main.tls.cert: there is no file #! clusters.main.tls.cert: needs `key` beside it
""",
    },
    "cluster compression, proxy_protocol and cores": {
        "clusters": """
clusters:
  main:
    primary: x:1
    compression: true    #! clusters.main.compression: must be
    proxy_protocol: 2    #! clusters.main.proxy_protocol: must be
    cores: 0             #! clusters.main.cores: must be
""",
    },
    "cluster tls key alone": {
        "clusters": """
clusters:
  main:
    primary: x:1
    tls: {key: /dev}  #! clusters.main.tls.key: needs `cert` #! clusters.main.tls.key: there is no file /dev
""",
    },
    "cluster tls not verified": {
        "clusters": """
clusters:
  main:
    primary: x:1
    tls: {verify: false, ca: no}  #! clusters.main.tls.ca: has no effect #! clusters.main.tls.ca: there is no file
""",
    },
    "cluster max_connections": {
        "clusters": "clusters: {a: {primary: x:1, max_connections: -1}}  #! clusters.a.max_connections: must be at lea",
    },
    "cluster max_connections, high": {
        "clusters": "clusters: {a: {primary: x:1, max_connections: 1000001}}  #! clusters.a.max_connections: must be a",
    },
    "cluster max_connections, text": {
        "clusters": "clusters: {a: {primary: x:1, max_connections: '5'}}  #! clusters.a.max_connections: must be a who",
    },
    # shardings
    "sharding without method": {
        "x": "shardings: {s: {}}  #! shardings.s.method: must be one of `hash`, `range`, `list`"
    },
    "sharding a scalar": {"x": "shardings: {s: hash}  #! shardings.s: must be a mapping"},
    "sharding method": {"x": "shardings: {s: {method: has}}  #! shardings.s.method: must be one of `hash`, `range`, `"},
    "hash bare": {"x": "shardings: {s: {method: hash}}  #! shardings.s: does not say where its slots are"},
    "hash both": {
        "x": """
shardings:
  s:
    method: hash
    clusters: [shard0]
    slots: {shard0: 0-4095}  #! shardings.s.slots: and `clusters` both say where the slots are. Keep one of them.
""",
    },
    "hash clusters empty": {
        "x": "shardings: {s: {method: hash, clusters: []}}  #! shardings.s.clusters: must not be em"
    },
    "hash cluster unknown": {
        "x": "shardings: {s: {method: hash, clusters: [shard0, shrad1]}}  #! shardings.s.clusters[1]: `shrad1` is not",
    },
    "hash cluster twice": {
        "x": "shardings: {s: {method: hash, clusters: [shard0, shard0]}}  #! shardings.s.clusters[1]: `shard0` is in t",
    },
    "hash foreign key": {
        "x": "shardings: {s: {method: hash, clusters: [shard0], default: shard0}}  #! shardings.s.default: is not a ke",
    },
    "slots gap": {
        "x": """
shardings:
  s:
    method: hash
    slots: #! shardings.s.slots: no cluster has the slots 100, 201-4095. All of 0-4095 must be dealt out.
      shard0: 0-99
      shard1: 101-200
""",
    },
    "slots overlap": {
        "x": """
shardings:
  s:
    method: hash
    slots:
      shard0: 0-2048
      shard1: 2047-4095  #! shardings.s.slots.shard1: has slots 2047-2048, which `shard0` has as well
""",
    },
    "slots twice": {
        "x": "shardings: {s: {method: hash, slots: {shard0: [0-4095, 5]}}}  #! shardings.s.slots.shard0: names some of",
    },
    "slots cluster unknown": {
        "x": "shardings: {s: {method: hash, slots: {shard9: 0-4095}}}  #! shardings.s.slots.shard9: `shard9` is not a",
    },
    "slots reversed": {
        "x": "shardings: {s: {method: hash, slots: {shard0: 9-0}}}  #! shardings.s.slots.shard0: has `9-0`"
    },
    "slots too high": {
        "x": "shardings: {s: {method: hash, slots: {shard0: 0-4096}}}  #! shardings.s.slots.shard0: has slot 4096, but",
    },
    "slots garbage": {
        "x": "shardings: {s: {method: hash, slots: {shard0: a-b}}}  #! shardings.s.slots.shard0: has `a-b`"
    },
    "slots null": {"x": "shardings: {s: {method: hash, slots: {shard0: }}}  #! shardings.s.slots.shard0: has no value"},
    "slots none": {
        "x": "shardings: {s: {method: hash, slots: {shard0: []}}}  #! shardings.s.slots.shard0: must name at"
    },
    "slots true": {
        "x": "shardings: {s: {method: hash, slots: {shard0: true}}}  #! shardings.s.slots.shard0: must be a r"
    },
    "range without ranges": {"x": "shardings: {s: {method: range}}  #! shardings.s.ranges: is missing"},
    "range empty": {"x": "shardings: {s: {method: range, ranges: []}}  #! shardings.s.ranges: must not be empty"},
    "range last bounded": {
        "x": """
shardings:
  s:
    method: range
    ranges:
      - {below: 1, cluster: shard0}
      - {below: 2, cluster: shard1}  #! shardings.s.ranges[1].below: is a bound in the last range
""",
    },
    "range open inside": {
        "x": """
shardings:
  s:
    method: range
    ranges:
      - {cluster: shard0}  #! shardings.s.ranges[0]: has no `below`, which only the last range may lack
      - {cluster: shard1}
""",
    },
    "range descending": {
        "x": """
shardings:
  s:
    method: range
    ranges:
      - {below: 5, cluster: shard0}
      - {below: 5, cluster: shard1}  #! shardings.s.ranges[1].below: 5 is not above the bound before it, 5
      - {below: 4, cluster: shard1}  #! shardings.s.ranges[2].below: 4 is not above
      - {cluster: shard1}
""",
    },
    "range descending text": {
        "x": """
shardings:
  s:
    method: range
    ranges:
      - {below: m, cluster: shard0}
      - {below: b, cluster: shard1}  #! shardings.s.ranges[1].below: 'b' is not above the bound before it, 'm'
      - {cluster: shard1}
""",
    },
    "range ambiguous text": {
        "x": """
shardings:
  s:
    method: range
    ranges:
      - {below: M, cluster: shard0}
      - {below: b, cluster: shard1}  #! shardings.s.ranges[1].below: 'M' and 'b' ascend by their codes, but not where
      - {cluster: shard1}
""",
    },
    "range mixed": {
        "x": """
shardings:
  s:
    method: range
    ranges:
      - {below: 5, cluster: shard0}
      - {below: '6', cluster: shard1}  #! shardings.s.ranges[1].below: is not of the type of the bound before it
      - {cluster: shard1}
""",
    },
    "range bound": {
        "x": """
shardings:
  s:
    method: range
    ranges:
      - {below: 5.5, cluster: shard0}   #! shardings.s.ranges[0].below: must be a whole number or text
      - {below: true, cluster: shard0}  #! shardings.s.ranges[1].below: must be a whole number or text
      - {below: 18446744073709551616, cluster: shard0}  #! shardings.s.ranges[2].below: does not fit any integer type
      - {belw: 7, cluster: shard0}      #! shardings.s.ranges[3].belw: is not a key that is known here. Did you mean
      - {below: 8}                      #! shardings.s.ranges[4].cluster: is missing. It is
      - 5                               #! shardings.s.ranges[5]: must be a mapping
      - {cluster: shard1}
""",
    },
    "range cluster unknown": {
        "x": "shardings: {s: {method: range, ranges: [{cluster: x}]}}  #! shardings.s.ranges[0].cluster: `x` is not a",
    },
    "list without values": {"x": "shardings: {s: {method: list}}  #! shardings.s.values: is missing"},
    "list no values": {"x": "shardings: {s: {method: list, values: {}}}  #! shardings.s.values: must not be empty"},
    "list of nothing": {
        "x": "shardings: {s: {method: list, values: {shard0: []}}}  #! shardings.s.values.shard0: must not be empty",
    },
    "list scalar": {
        "x": "shardings: {s: {method: list, values: {shard0: us}}}  #! shardings.s.values.shard0: must be a l"
    },
    "list unknown clusters": {
        "x": """
shardings:
  s:
    method: list
    default: shard9       #! shardings.s.default: `shard9` is not a cluster
    values: {shard8: [a, 5]}  #! shardings.s.values.shard8: `shard8` is not #! shardings.s.values.shard8[1]: is not of
""",
    },
    "list twice": {
        "x": """
shardings:
  s:
    method: list
    values:
      shard0: [us, ca]
      shard1:
        - us  #! shardings.s.values.shard1[0]: 'us' is a key of `shard0` already
        - CA  #! shardings.s.values.shard1[1]: 'CA' is the same to most collations as 'ca', a key of `shard0`
        - 5   #! shardings.s.values.shard1[2]: is not of the type of the keys before it
""",
    },
    "list truth value": {
        "x": "shardings: {s: {method: list, values: {shard0: [true]}}}  #! shardings.s.values.shard0[0]: must be a who",
    },
    "list foreign key": {
        "x": "shardings: {s: {method: list, values: {shard0: [a]}, list: 5}}  #! shardings.s.list: is not a key of a l",
    },
    "directory without its database": {
        "x": "shardings: {s: {method: directory, table: a.b}}  #! shardings.s.table: is in the database `a`, which",
    },
    "directory, form": {
        "x": """
shardings:
  s:
    method: directory
    table: a           #! shardings.s.table: must be `database.table`
    weights: {shard0: -1}  #! shardings.s.weights.shard0: must be at least 0
""",
    },
    "directory, clusters": {
        "x": """
shardings:
  s:
    method: directory
    table: shop.owners
    clusters: [shard0, shard9, shard0]  #! shardings.s.clusters[1]: `shard9` is not #! shardings.s.clusters[2]: `sha
    weights:
      shard1: 5  #! shardings.s.weights.shard1: `shard1` is not a cluster of this sharding. It has `shard0` and `shard9`
""",
        "y": shop(),
    },
    "directory, one cluster": {
        "x": """
shardings:
  s:
    method: directory
    table: shop.owners
    clusters: [shard0]  #! shardings.s.clusters: leaves `shard0` alone for all keys, so that nothing would be entered
""",
        "y": shop(),
    },
    "directory, no new keys": {
        "x": """
shardings:
  s:
    method: directory
    table: shop.owners
    clusters: [shard0, shard1]
    weights: {shard0: 0, shard1: 0}  #! shardings.s.weights: leave no cluster for new keys
""",
        "y": shop(),
    },
    "directory of two": {
        "x": """
shardings:
  s: {method: directory, table: shop.owners}
  t: {method: directory, table: Shop.OWNERS}  #! shardings.t.table: is the directory of `s` already. Let the tables
""",
        "y": shop(),
    },
    "directory, sharded": {
        "x": "shardings: {s: {method: directory, table: shop.owners}, h: {method: hash, clusters: [shard0, shard1]}}",
        "y": shop(
            "Owners: {sharding: h, key: a}  #! databases.shop.tables.Owners.sharding: cannot be said of shop.owners"
        ),
    },
    "directory, everywhere": {
        "x": "shardings: {s: {method: directory, table: shop.owners}}",
        "y": shop(
            "owners: {everywhere: true}  #! databases.shop.tables.owners.everywhere: cannot be said of shop.owners"
        ),
    },
    "directory, cached": {
        "x": "shardings: {s: {method: directory, table: shop.owners}}",
        "y": shop("owners: {cache: {by: [a]}}  #! databases.shop.tables.owners.cache: cannot be said of shop.owners"),
    },
    "directory, elsewhere": {
        "x": "shardings: {s: {method: directory, table: shop.owners}}",
        "y": shop(
            "owners: {cluster: media}  #! databases.shop.tables.owners.cluster: takes shop.owners, the directory of"
        ),
    },
    # databases
    "database without home": {
        "x": "databases: {shop: {tables: {}}}  #! databases.shop: has no `home`. Write `home:` wi"
    },
    "database with nothing": {"x": "databases: {shop: }  #! databases.shop: has no `home`"},
    "database home null": {"x": "databases: {shop: {home: }}  #! databases.shop.home: has no value"},
    "database home unknown": {
        "x": "databases: {shop: {home: man}}  #! databases.shop.home: `man` is not a cluster of thi"
    },
    "database home a number": {
        "x": "databases: {shop: {home: 5}}  #! databases.shop.home: must be text, and is a number"
    },
    "database a list": {"x": "databases: {shop: [a]}  #! databases.shop: must be a mapping"},
    "database unknown key": {
        "x": "databases: {shop: {home: main, table: {}}}  #! databases.shop.table: is not a key that is known here. Di",
    },
    "database name": {"x": "databases: {'a/b': {home: main}}  #! databases.a/b: is not the name of a database"},
    "databases by case": {
        "x": """
databases:
  shop: {home: main}
  Shop: {home: media}  #! databases.Shop: differs from `shop` only in upper and lower case
""",
    },
    "reads": {
        "x": """
databases:
  shop:
    home: main
    reads:
      from: replica    #! databases.shop.reads.from: must be `primary` or `replicas`. Did you mean `replicas`?
      max_lag: 5 days  #! databases.shop.reads.max_lag: must be a time
      own_writes: no   #! databases.shop.reads.own_writes: must be `true` or `false`. Write `false`.
      max_lags: 5s     #! databases.shop.reads.max_lags: is not a key that is known here. Did you mean `max_lag`?
""",
    },
    "tables by case": {
        "x": shop("a: {cluster: media}", "A: {cluster: main}  #! databases.shop.tables.A: differs from `a`")
    },
    "table with database": {
        "x": shop("shop.a: {}  #! databases.shop.tables.shop.a: is written with its database. Wri")
    },
    "table a scalar": {"x": shop("a: media  #! databases.shop.tables.a: must be a mapping")},
    "table cluster unknown": {
        "x": shop("a: {cluster: meda}  #! databases.shop.tables.a.cluster: `meda` is not a cluste")
    },
    "table cluster null": {"x": shop("a: {cluster: }  #! databases.shop.tables.a.cluster: has no value")},
    "table sharding unknown": {
        "x": HASH
        + "\n"
        + shop("a: {sharding: custmer, key: id}  #! databases.shop.tables.a.sharding: `custmer` is not a"),
    },
    "table sharding unknown, none": {
        "x": shop(
            "a: {sharding: s, key: id}  #! databases.shop.tables.a.sharding: `s` is not a sharding of this file."
        ),
    },
    "table sharding without key": {
        "x": HASH + "\n" + shop("a: {sharding: customer}  #! databases.shop.tables.a.sharding: needs `key` beside it"),
    },
    "table key without sharding": {
        "x": shop("a: {key: id}  #! databases.shop.tables.a.key: means nothing without `shar")
    },
    "table key with cluster": {
        "x": shop("a: {cluster: media, key: id}  #! databases.shop.tables.a.key: means nothing without `sharding`"),
    },
    "table cluster and sharding": {
        "x": HASH
        + "\n"
        + shop(
            "a:",
            "  sharding: customer",
            "  key: id",
            "  cluster: media  #! databases.shop.tables.a.cluster: and `sharding` exclude each other",
        ),
    },
    "table key of two columns": {
        "x": HASH
        + "\n"
        + shop("a: {sharding: customer, key: [a, b]}  #! databases.shop.tables.a.key: must be text")
        + "\n"
        + "      b: {sharding: customer, key: 'a, b'}  #! databases.shop.tables.b.key: `a, b` is not the name of one c",
    },
    "table everywhere and more": {
        "x": HASH
        + "\n"
        + shop(
            "a:",
            "  everywhere: true",
            "  cluster: media      #! databases.shop.tables.a.cluster: and `everywhere` exclude each other",
            "  sharding: customer  #! databases.shop.tables.a.sharding: and `everywhere` exclude each other",
            "  key: id             #! databases.shop.tables.a.key: and `everywhere` exclude each other",
        ),
    },
    "table everywhere false": {
        "x": shop(
            "a: {everywhere: false}  #! databases.shop.tables.a.everywhere: can only be `true`. Take the key out"
        ),
    },
    "table everywhere yes": {
        "x": shop("a: {everywhere: yes}  #! databases.shop.tables.a.everywhere: can only be `true`.")
    },
    "table reads": {
        "x": shop("a: {reads: {from: x}}  #! databases.shop.tables.a.reads.from: must be `primary` or `repl")
    },
    "table unknown key": {
        "x": shop("a: {shard: x}  #! databases.shop.tables.a.shard: is not a key that is known here. Did")
    },
    "table key from elsewhere": {
        "x": shop(
            "a: {replicas: x}  #! databases.shop.tables.a.replicas: is not a key that is known here. It belongs in"
        ),
    },
    # not supported yet
    "table cache twice": {
        "x": shop(
            "a: {cache: [{by: [b, c]}, {by: [C, b]}]}  #! databases.shop.tables.a.cache[1].by: is the class before"
        ),
    },
    "table cache column twice": {
        "x": shop("a: {cache: {by: [id, ID]}}  #! databases.shop.tables.a.cache.by[1]: `ID` is there twice"),
    },
    "table cache column": {
        "x": shop("a: {cache: {by: ['a.b']}}  #! databases.shop.tables.a.cache.by[0]: `a.b` is not the name of one"),
    },
    "table cache everywhere": {
        "x": shop(
            "a: {everywhere: true, cache: {by: [id]}}  #! databases.shop.tables.a.cache: means little on a table"
        ),
    },
    "table cache ttl": {
        "x": shop("a: {cache: {by: [id], ttl: 0}}  #! databases.shop.tables.a.cache.ttl: must be at least `1ms`"),
    },
    "table cache, form": {
        "x": shop(
            "a:",
            "  cache:",
            "    - {by: id}    #! databases.shop.tables.a.cache[0].by: must be a list",
            "    - {by: []}    #! databases.shop.tables.a.cache[1].by: must not be empty",
            "    - {on: [a]}   #! databases.shop.tables.a.cache[2].by: is missing #! databases.shop.tables.a.cache[2].",
            "b: {cache: {by: 5}}  #! databases.shop.tables.b.cache.by: must be a list",
            "c: {cache: }         #! databases.shop.tables.c.cache: has no value",
        ),
    },
    "cache local": {"x": "cache: {local: 1KB}  #! cache.local: is too little to be of use"},
    "cache memcached twice": {
        "x": "cache: {memcached: [127.0.0.1:1, 127.0.0.1:1]}  #! cache.memcached[1]: 127.0.0.1:1 is there twice"
    },
    "cache, form": {
        "x": """
cache:
  local: 64XB       #! cache.local: must be a size
  memcached: [y]    #! cache.memcached[0]: has no port
  max_staleness: 0  #! cache.max_staleness: must be at least `1ms`
  by: [id]          #! cache.by: is not a key that is known here. It belongs in
""",
    },
    "transactions": {"x": "transactions: best  #! transactions: must be `atomic` or `best_effort` or `single`"},
    "workbench": {
        "x": "workbench: {cluster: mian}  #! workbench.cluster: `mian` is not a cluster of this file. Did you mean"
    },
    "workbench, form": {
        "x": """
workbench:  #! workbench.cluster: is missing
  max_rows: 0    #! workbench.max_rows: must be at least 1
  max_time: -1   #! workbench.max_time: must not be negative
""",
    },
    "workbench on": {"x": "workbench: on  #! workbench: must be `off`"},
    "workbench false": {"x": "workbench: false  #! workbench: must be `off`"},
    # health, pool, limits
    "health": {
        "x": """
health:
  every: 0           #! health.every: must be at least `1ms`
  timeout: 5x        #! health.timeout: must be a time
  connect_timeout: 9000h  #! health.connect_timeout: must not be longer than a year
  evry: 1s           #! health.evry: is not a key that is known here. Did you mean `every`?
""",
    },
    "health timeout": {
        "x": "health: {every: 5s, timeout: 4s}  #! health.timeout: would call a server down between two"
    },
    "health every": {"x": "health: {every: 5s}  #! health.every: would call a server down between two probes"},
    "pool": {
        "x": """
pool:
  wait: 0ms          #! pool.wait: must be at least `1ms`
  max_waiters: 0     #! pool.max_waiters: must be at least 1
  max_idle: 0        #! pool.max_idle: must be at least `1ms`
  max_age: -5        #! pool.max_age: must not be negative
  max_statements: x  #! pool.max_statements: must be a whole number
""",
    },
    "limits": {
        "x": """
limits:
  login: true        #! limits.login: must be a time
  drain: '-1s'       #! limits.drain: must be a time
  max_packet: 2GB    #! limits.max_packet: must be between `1KB` and `1GB`
  slow_statement: [] #! limits.slow_statement: must be a time
  shapes: 1.5        #! limits.shapes: must be a whole number
""",
    },
    "history": {
        "x": """
history:             #! history.file: is missing
  path: x            #! history.path: is not a key that is known here
""",
    },
    "history off": {"x": "history: off  #! history: must be a mapping"},
    "history, no file": {"x": "history: {file: ''}  #! history.file: must not be empty"},
    # YAML
    "key twice": {
        "users": """
users:
  app: {password: a}
  ops: {password: b}
  app: {password: c}  #! users.app: is written twice; the first is in line 4. Keep one of them.
""",
    },
    "section twice": {"x": "turnout: 1  #! turnout: is written twice; the first is in line 1."},
    "key twice by quotes": {
        "users": 'users: {app: {password: a, "password": b}}  #! users.app.password: is written twice'
    },
    "anchor": {"users": "users: {app: &x {password: a}}  #! users.app: anchors (`&x`) are not used in a rules file."},
    "anchor and alias": {
        "users": """
users:
  app: &x {password: a}  #! users.app: anchors (`&x`)
  ops: *x                #! users.ops: aliases (`*x`) are not used in a rules file. Write the value out.
""",
    },
    "alias as key": {
        "users": "users: {*x : {password: a}, b: {password: x}}  #! users: aliases (`*x`) #! users: has a key"
    },
    "tag": {"users": "users: {app: {password: !!str 5}}  #! users.app.password: tags (`tag:yaml.org,2002:str`)"},
    "complex key": {
        "users": "users: {app: {password: a}, ? [b] : {password: c}}  #! users: has a key that is not a name."
    },
    "empty key": {"users": 'users: {app: {password: a}, "": {password: c}}  #! users: has a key that is not a name.'},
    "half a character": {"users": 'users: {a: {password: "\\ud83d"}}  #! users.a.password: has half of a character in'},
    "two documents": {"x": "---  #! A rules file is one YAML document. Take out the line `---`.\nturnout: 1"},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_refusal_has_its_line(case: dict[str, str | None]) -> None:
    check(text(**case), {"EMPTY": "", "LINES": "a\n"})


SYNTAX = [
    ("turnout: 1\nlisten:\n\tmysql: x:1\n", 3, 1, "This is not YAML: a tab stands where white space counts.", "Indent"),
    (
        "turnout: 1\nusers: [a\nlisten: b\n",
        3,
        7,
        "This is not YAML: expected ',' or ']', but got ':' (while parsing",
        "",
    ),
    (
        "turnout: 1\nusers: 'a\n",
        3,
        1,
        "This is not YAML: found unexpected end of stream (while scanning a quoted",
        "Close",
    ),
    ("turnout: 1\na: b: c\n", 2, 5, "This is not YAML: a `:` stands where none may be.", "Check the indentation"),
    (
        "turnout: 1\na: @b\n",
        2,
        4,
        "This is not YAML: found character '@' that cannot start any token.",
        "Put the value",
    ),
    ("turnout: 1\na: \x07\n", 2, 4, "The character U+0007 is not allowed in YAML.", "Delete it."),
    ('turnout: 1\na: "\\U00110000"\n', 2, 1, "An escape after line 2 names no character.", ""),
    ('turnout: 1\na: "\\UFFFFFFFF"\n', 2, 1, "An escape after line 2 names no character.", ""),
    ("", 1, 1, "The file is empty.", "Start from the example"),
    ("# nothing\n", 1, 1, "The file is empty.", "Start from the example"),
    ("- a\n", 1, 1, "The file must be a mapping", ""),
    ("turnout\n", 1, 1, "The file must be a mapping", ""),
    ("a: " + "[" * 21 + "]" * 21, 1, 23, "More than 20 levels are nested here.", ""),
    ("a: " + "[" * 100_000, 1, 23, "More than 20 levels are nested here.", ""),
]


@pytest.mark.parametrize(("source", "line", "column", "message", "suggestion"), SYNTAX)
def test_what_is_not_yaml_has_its_place(source: str, line: int, column: int, message: str, suggestion: str) -> None:
    (problem,) = problems(source)
    assert (problem.line, problem.column) == (line, column)
    assert problem.message.startswith(message)
    assert problem.suggestion.startswith(suggestion)


def test_all_problems_come_at_once_in_order() -> None:
    source = text(
        listen="listen: {mysql: 3307}",
        users="users: {app: {password_env: NO}, b: {passwrd: x}}",
        service=None,
        x="shardings: {s: {method: hash, slots: {main: 0-5}}}",
        y=shop("a: {cluster: nowhere}", "b: {everywhere: true, cluster: main}", "c: {cache: {by: [id, id]}}"),
        z="transactions: both",
    )
    found = problems(source)
    assert [problem.where for problem in found] == [
        "service",
        "listen.mysql",
        "users.app.password_env",
        "users.b",
        "users.b.passwrd",
        "shardings.s.slots",
        "databases.shop.tables.a.cluster",
        "databases.shop.tables.b.cluster",
        "databases.shop.tables.c.cache.by[1]",
        "transactions",
    ]
    assert [problem.line for problem in found] == sorted(problem.line for problem in found)


def test_a_problem_prints_its_place() -> None:
    source = text(x="shardings: {customer: {method: hash, clusters: [shard0]}}", y=shop("orders: {shardng: customer}"))
    with pytest.raises(RulesInvalid) as caught:
        parse(source, Path("routing_rules.yaml"), {})
    assert str(caught.value) == (
        "routing_rules.yaml:15:16: databases.shop.tables.orders.shardng: is not a key that is known here. "
        "Did you mean `sharding`?"
    )
    assert caught.value.message == str(caught.value)


def test_the_missing_service_account_is_explained() -> None:
    (problem,) = problems(text(service=None))
    assert "CREATE USER" in problem.suggestion
    assert "GRANT SELECT, SHOW VIEW, TRIGGER, PROCESS, REPLICATION CLIENT" in problem.suggestion
    assert "service: {user: turnout, password_env: TURNOUT_PASSWORD}" in problem.suggestion


def test_no_message_shows_a_password() -> None:
    source = text(
        users="users: {a: {password: [hunter2]}, b: {password: hunter2, password_env: X}, c: {pass: hunter2}}"
    )
    assert "hunter2" not in "\n".join(str(problem) for problem in problems(source))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"one\ntwo\n", "must hold one line, the password"),
        (b"x" * 5000, "must hold one line, the password"),
    ],
)
def test_a_password_file_holds_one_password(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    source = text(users="users:\n  app: {password_file: secret}")
    (problem,) = problems(source, path=tmp_path / "rules.yaml")
    assert (problem.line, problem.where) == (4, "users.app.password_file")
    assert message in problem.message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RulesInvalid) as caught:
        load(tmp_path / "none.yaml", {})
    assert str(caught.value) == f"{tmp_path}/none.yaml: The file cannot be read: No such file or directory."


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_bytes(b"turnout: 1\n# caf\xe9\n")
    with pytest.raises(RulesInvalid) as caught:
        load(file, {})
    assert str(caught.value) == f"{file}:2:6: The file is not UTF-8 text. Save it as UTF-8."


def test_the_base_of_these_cases_is_right() -> None:
    assert list(rules().clusters) == ["main", "media", "shard0", "shard1"]
