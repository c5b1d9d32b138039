"""`turnout check NEW --against OLD`: what a change of the rules would do, in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from proxy.rules import quantity
from proxy.rules.change import Change, Severity
from proxy.rules.model import CacheClass, Cluster, Rules, ServiceAccount, Transactions, User
from proxy.rules.moves import database_moves, sharding_moves
from proxy.rules.problem import listed

__all__ = ["Change", "Severity", "diff"]


def diff(old: Rules, new: Rules) -> tuple[Change, ...]:
    """Every difference that has an effect, in the order of the file's sections; empty when there is none."""
    return (
        *_listen(old, new),
        *_users(old, new),
        *_clusters(old, new),
        *sharding_moves(old, new),
        *database_moves(old, new),
        *_caching(old, new),
        *_transactions(old, new),
        *_workbench(old, new),
        *_tuning(old, new),
        *_history(old, new),
    )


def _listen(old: Rules, new: Rules) -> Iterator[Change]:
    restart = "this needs a restart"
    for name in ("mysql", "http"):
        before, after = getattr(old.listen, name), getattr(new.listen, name)
        if before != after:
            message = f"changes from {before or 'none'} to {after or 'none'}: {restart}."
            yield Change(Severity.RESTART, f"listen.{name}", message)
    if old.listen.http_login != new.listen.http_login:
        message = f"changes from {old.listen.http_login.value} to {new.listen.http_login.value} for the dashboard."
        yield Change(Severity.CAUTION, "listen.http_login", message)
    if old.listen.tls != new.listen.tls:
        verb = "is removed" if new.listen.tls is None else "is added" if old.listen.tls is None else "changes"
        yield Change(Severity.INFO, "listen.tls", f"{verb}: clients that connect from now on follow it.")
    if old.listen.max_connections != new.listen.max_connections:
        message = f"changes from {old.listen.max_connections} to {new.listen.max_connections} for each worker."
        yield Change(Severity.INFO, "listen.max_connections", message)
    if old.listen.compression != new.listen.compression:
        message = f"changes from {old.listen.compression.value} to {new.listen.compression.value} for new clients."
        yield Change(Severity.INFO, "listen.compression", message)
    if old.listen.proxy_protocol != new.listen.proxy_protocol:
        message = (
            f"changes from {old.listen.proxy_protocol} to {new.listen.proxy_protocol}: connections from there have to "
            "begin with a PROXY protocol header, and none from elsewhere."
        )
        yield Change(Severity.CAUTION, "listen.proxy_protocol", message)
    if old.workers != new.workers:
        yield Change(Severity.RESTART, "workers", f"changes from {old.workers} to {new.workers}: {restart}.")
    if old.scheduling != new.scheduling:
        message = f"changes from {old.scheduling.value} to {new.scheduling.value} for the workers that run."
        yield Change(Severity.INFO, "scheduling", message)
    if old.busy_poll != new.busy_poll:
        before, after = (
            "what suits the machine" if rules.busy_poll is None else rules.busy_poll.value for rules in (old, new)
        )
        message = f"changes from {before} to {after} for the workers that run."
        yield Change(Severity.INFO, "busy_poll", message)


def _users(old: Rules, new: Rules) -> Iterator[Change]:
    for name in [name for name in new.users if name not in old.users]:
        message = "is added: the same account, with the same password, must be on every server that it uses."
        yield Change(Severity.INFO, f"users.{name}", message)
    for name in [name for name in old.users if name not in new.users]:
        message = "is removed: it can no longer log in."
        yield Change(Severity.CAUTION, f"users.{name}", message)
    for name, before in old.users.items():
        if name in new.users:
            yield from _user(before, new.users[name])
    if old.users_from != new.users_from:
        message = f"changes from {_name(old.users_from)} to {_name(new.users_from)}: other accounts can log in."
        yield Change(Severity.CAUTION, "users_from", message)
    if old.service != new.service:
        yield _service("service", old.service, new.service)


def _user(old: User, new: User) -> Iterator[Change]:
    where = f"users.{old.name}"
    if old.password != new.password:
        message = "gets another password: applications and every server must have it at the same time."
        yield Change(Severity.CAUTION, where, message)
    if old.admin != new.admin:
        verb = "becomes an administrator" if new.admin else "is no longer an administrator"
        yield Change(Severity.INFO, where, f"{verb}.")
    if old.auth != new.auth:
        plugin = new.auth.value if new.auth else "the plugin that the client prefers"
        yield Change(Severity.INFO, where, f"logs in with {plugin}.")


def _service(where: str, old: ServiceAccount | None, new: ServiceAccount | None) -> Change:
    before, after = _name(old.user if old else None), _name(new.user if new else None)
    if before == after:
        message = "gets another password: the servers must have it at the same time."
    elif new is None:
        message = f"is removed: the account {before} is no longer used."
    else:
        message = f"changes from {before} to {after}: the account must be on the servers."
    return Change(Severity.CAUTION, where, message)


def _clusters(old: Rules, new: Rules) -> Iterator[Change]:
    for name, cluster in new.clusters.items():
        if name not in old.clusters:
            servers = ", ".join(str(server) for server in (cluster.primary, *cluster.replicas))
            yield Change(Severity.INFO, f"clusters.{name}", f"is added: pools to {servers} are opened.")
    for name, cluster in old.clusters.items():
        if name not in new.clusters:
            servers = ", ".join(str(server) for server in (cluster.primary, *cluster.replicas))
            message = f"is removed: pools to {servers} are closed when their transactions have ended."
            yield Change(Severity.CAUTION, f"clusters.{name}", message)
        else:
            yield from _cluster(cluster, new.clusters[name])


def _cluster(old: Cluster, new: Cluster) -> Iterator[Change]:
    where = f"clusters.{old.name}"
    if old.primary != new.primary:
        message = (
            f"changes from {old.primary} to {new.primary}: writes go there, nothing is copied, and it must hold the "
            f"same rows; pools to {old.primary} are closed when their transactions have ended."
        )
        yield Change(Severity.CAUTION, f"{where}.primary", message)
    added = [str(server) for server in new.replicas if server not in old.replicas]
    removed = [str(server) for server in old.replicas if server not in new.replicas]
    if added:
        message = f"{listed(added)} {_is(added)} added: it must replicate from {new.primary}; a pool to it is opened."
        yield Change(Severity.INFO, f"{where}.replicas", message)
    if removed:
        message = f"{listed(removed)} {_is(removed)} removed: pools are closed when their transactions have ended."
        yield Change(Severity.INFO, f"{where}.replicas", message)
    if old.service != new.service:
        yield _service(f"{where}.service", old.service, new.service)
    if old.tls != new.tls:
        verb = "is removed" if new.tls is None else "is added" if old.tls is None else "changes"
        yield Change(Severity.INFO, f"{where}.tls", f"{verb}: new connections follow it.")
    if old.max_connections != new.max_connections:
        message = f"changes from {old.max_connections} to {new.max_connections} for each server and worker."
        yield Change(Severity.INFO, f"{where}.max_connections", message)
    if old.compression != new.compression:
        message = f"changes from {old.compression.value} to {new.compression.value}: its pools are opened anew."
        yield Change(Severity.INFO, f"{where}.compression", message)
    if old.proxy_protocol != new.proxy_protocol:
        message = (
            f"changes from {old.proxy_protocol.value} to {new.proxy_protocol.value}: its pools are opened anew, and "
            "servers see clients' addresses only where they are told and trust Turnout's."
        )
        yield Change(Severity.CAUTION, f"{where}.proxy_protocol", message)
    if old.cores != new.cores:
        before, after = (f"{cores}" if cores is not None else "not said" for cores in (old.cores, new.cores))
        yield Change(Severity.INFO, f"{where}.cores", f"changes from {before} to {after}, for advice alone.")


def _caching(old: Rules, new: Rules) -> Iterator[Change]:
    for database in new.databases.values():
        for table in database.tables.values():
            before = old.table(database.name, table.name)
            classes, now = before.cache if before is not None else (), table.cache
            yield from _classes(f"databases.{database.name}.tables.{table.name}.cache", classes, now)
    for database in old.databases.values():
        for table in database.tables.values():
            if table.cache and new.table(database.name, table.name) is None:
                yield from _classes(f"databases.{database.name}.tables.{table.name}.cache", table.cache, ())
    if old.cache.memcached != new.cache.memcached:
        servers = listed([str(address) for address in new.cache.memcached]) or "none"
        yield Change(Severity.INFO, "cache.memcached", f"changes to {servers}: what is not there is fetched again.")
    for name, show in (
        ("local_bytes", quantity.size_text),
        ("max_staleness_s", quantity.duration_text),
        ("max_value_bytes", quantity.size_text),
        ("verify", str),
    ):
        one, other = getattr(old.cache, name), getattr(new.cache, name)
        if one != other:
            where = f"cache.{name.removesuffix('_s').removesuffix('_bytes')}"
            yield Change(Severity.INFO, where, f"changes from {show(one)} to {show(other)}.")


def _classes(where: str, before: tuple[CacheClass, ...], after: tuple[CacheClass, ...]) -> Iterator[Change]:
    for one in after:
        if one not in before:
            by = ", ".join(one.by)
            if one.ttl_s is not None:
                age = quantity.duration_text(one.ttl_s)
                yield Change(Severity.CAUTION, where, f"reads by ({by}) may be up to {age} old: NOT coherent.")
            else:
                yield Change(Severity.INFO, where, f"reads by ({by}) are served from memory, coherently.")
    for one in before:
        if one not in after and not any(one.by == other.by for other in after):
            yield Change(Severity.INFO, where, f"reads by ({', '.join(one.by)}) go to the servers again.")


def _transactions(old: Rules, new: Rules) -> Iterator[Change]:
    if old.transactions == new.transactions:
        return
    if new.transactions is Transactions.SINGLE:
        message = "changes to single: a transaction that writes on a second cluster is refused."
    elif new.transactions is Transactions.ATOMIC:
        message = (
            "changes to atomic: a transaction may write on several clusters, and commits on all of them or none; it "
            "needs tables and grants of its own (docs/TRANSACTIONS.md)."
        )
    else:
        message = (
            "changes to best_effort: a transaction may write on several clusters, which commit one after the other; "
            "a failure in between leaves some committed."
        )
    yield Change(Severity.CAUTION, "transactions", message)


def _workbench(old: Rules, new: Rules) -> Iterator[Change]:
    before, after = old.workbench, new.workbench
    if before == after:
        return
    if after is None:
        yield Change(Severity.CAUTION, "workbench", "is off: SELECTs that were finished there are refused.")
    elif before is None or before.cluster != after.cluster:
        message = (
            f"SELECTs over several clusters that cannot be merged are finished on {after.cluster}: accounts need "
            "CREATE TEMPORARY TABLES there."
        )
        yield Change(Severity.INFO, "workbench", message)
    if before is not None and after is not None:
        if before.max_rows != after.max_rows:
            yield Change(Severity.INFO, "workbench.max_rows", f"changes from {before.max_rows} to {after.max_rows}.")
        if before.max_time_s != after.max_time_s:
            show = quantity.duration_text
            message = f"changes from {show(before.max_time_s)} to {show(after.max_time_s)}."
            yield Change(Severity.INFO, "workbench.max_time", message)


def _tuning(old: Rules, new: Rules) -> Iterator[Change]:
    for section in ("health", "pool", "limits"):
        before, after = getattr(old, section), getattr(new, section)
        for field in type(before).__dataclass_fields__:
            one, other = getattr(before, field), getattr(after, field)
            if one != other:
                show = _show(field)
                where = f"{section}.{field.removesuffix('_s')}"
                yield Change(Severity.INFO, where, f"changes from {show(one)} to {show(other)}.")


def _history(old: Rules, new: Rules) -> Iterator[Change]:
    if old.history != new.history:
        before, after = (one.history.file if one.history else "none" for one in (old, new))
        yield Change(Severity.RESTART, "history.file", f"changes from {before} to {after}: this needs a restart.")


def _show(field: str) -> Callable[[Any], str]:
    if field.endswith("_s"):
        return lambda seconds: "none" if seconds is None else quantity.duration_text(seconds)
    return quantity.size_text if field in ("max_packet", "session_memory", "result_bytes") else str


def _name(name: str | None) -> str:
    return f"`{name}`" if name else "none"


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
