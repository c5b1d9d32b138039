"""The form of `routing_rules.yaml`: which keys there are and what type each has, as pydantic models.

This is what one value can be judged by on its own; what has to agree with the rest of the file is checked by the
readers. The JSON Schema for editors is made from these models, and so are the descriptions in it. Keys that are
required at the top and in a database are optional here, so that one missing key does not hide what is wrong elsewhere;
`schema.py` writes them down as required.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from proxy.rules import address, model, quantity, slots


def _worded(convert: Callable[[Any], Any]) -> BeforeValidator:
    """A validator from a function that raises ValueError with the end of a sentence."""

    def validate(value: object) -> object:
        try:
            return convert(value)
        except ValueError as error:
            raise PydanticCustomError("worded", "{message}", {"message": str(error)}) from None

    return BeforeValidator(validate)


def _address(value: object) -> model.Address:
    if not isinstance(value, str):
        raise ValueError("must be an address such as `127.0.0.1:3306`")
    return address.parse(value)


def _network(value: object) -> model.Trusted:
    if value == "unix":
        return model.Trusted(unix=True)
    try:
        return model.Trusted((ipaddress.ip_network(value),)) if isinstance(value, str) else _not_a_network()
    except ValueError:
        return _not_a_network()


def _not_a_network() -> model.Trusted:
    raise ValueError("must be an address (`10.0.0.7`), a network without host bits (`10.0.0.0/8`), or `unix`")


def _positive_duration(value: object) -> float:
    seconds = quantity.duration_s(value)
    if seconds < 0.001:
        raise ValueError("must be at least `1ms`")
    return seconds


def _share(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise ValueError("must be a share between 0 and 1, such as `0.001`")


def _version(value: object) -> object:
    if value == 1 and not isinstance(value, bool):
        return value
    raise ValueError("must be 1, the version of this format that this Turnout reads")


def _workers(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 512):
        return value
    raise ValueError("must be `auto` (one per core) or a number from 1 to 512")


def _packet_size(value: object) -> int:
    size = quantity.size_bytes(value)
    if not 1024 <= size <= 1 << 30:
        raise ValueError("must be between `1KB` and `1GB`, as on MySQL")
    return size


def _key_value(value: object) -> int | str:
    """A bound of a range, or a value of a list sharding."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("must be a whole number or text; put text that looks like something else in quotes")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise ValueError("does not fit any integer type of MySQL")
    return value


def _qualified(value: object) -> str:
    parts = value.split(".") if isinstance(value, str) else []
    if len(parts) != 2 or not all(parts):
        raise ValueError("must be `database.table`")
    return str(value)


_DURATION_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*(ms|s|m|h)$"},
        {"type": "number", "minimum": 0},
    ],
    "examples": ["500ms", "5s", "2m", "1h"],
}
_SIZE_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "pattern": r"^[0-9]+\s*([Kk]|[Mm]|[Gg])?[Bb]$"}, {"type": "integer", "minimum": 0}],
    "examples": ["64MB"],
}
_SLOTS_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": r"^[0-9]+(\s*-\s*[0-9]+)?(\s*,\s*[0-9]+(\s*-\s*[0-9]+)?)*$"},
        {"type": "integer", "minimum": 0, "maximum": model.SLOTS - 1},
        {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1},
    ],
    "examples": ["0-2047"],
}

Address = Annotated[
    model.Address,
    _worded(_address),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:3306", "/run/mysqld/mysqld.sock"]}),
]
Network = Annotated[
    model.Trusted,
    _worded(_network),
    WithJsonSchema({"type": "string", "examples": ["10.0.0.0/8", "2001:db8::7", "unix"]}),
]
Duration = Annotated[float, _worded(quantity.duration_s), WithJsonSchema(_DURATION_SCHEMA)]
Share = Annotated[float, _worded(_share), WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})]
PositiveDuration = Annotated[float, _worded(_positive_duration), WithJsonSchema(_DURATION_SCHEMA)]
Size = Annotated[int, _worded(quantity.size_bytes), WithJsonSchema(_SIZE_SCHEMA)]
PacketSize = Annotated[int, _worded(_packet_size), WithJsonSchema(_SIZE_SCHEMA)]
KeyValue = Annotated[int | str, _worded(_key_value), WithJsonSchema({"type": ["integer", "string"]})]
SlotRanges = Annotated[slots.Ranges, _worded(slots.parse), WithJsonSchema(_SLOTS_SCHEMA)]
Version = Annotated[int, _worded(_version), WithJsonSchema({"const": 1})]
Workers = Annotated[
    int | Literal["auto"],
    _worded(_workers),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": 512}]}),
]
Name = Annotated[str, Field(min_length=1)]
RowCount = Annotated[int, Field(ge=1, le=1_000_000_000)]
ResultRows = Annotated[int, Field(ge=0, le=1 << 62)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Rate = Annotated[int, Field(ge=0, le=1_000_000)]
Weight = Annotated[int, Field(ge=0, le=1_000_000)]
EmptyAsMapping = BeforeValidator(lambda value: {} if value is None else value)  # `tables:` with nothing under it


class Form(BaseModel):
    """A mapping of the file. Unknown keys are refused; nothing is converted that was not meant so."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ListenTlsForm(Form):
    """TLS towards clients. Paths are relative to the rules file."""

    cert: Name = Field(description="PEM file with the certificate, and the chain below it.")
    key: Name = Field(description="PEM file with the certificate's private key.")
    client_ca: Name | None = Field(None, description="PEM file: clients must show a certificate that it signed.")
    require: bool = Field(False, description="Refuse clients that do not use TLS.")


class ListenForm(Form):
    """Where Turnout can be reached."""

    mysql: Address = Field(description="Where applications connect.")
    http: Address | None = Field(None, description="/metrics, /healthz, /readyz and the dashboard. Absent: none.")
    http_login: Literal["remote", "always"] = Field(
        "remote",
        description="When the dashboard asks for an account with `admin: true`: unless it is on loopback, or always.",
    )
    tls: ListenTlsForm | None = None
    max_connections: Count = Field(10_000, description="Clients, per worker; more are told `Too many connections`.")
    compression: Literal["off", "zlib"] = Field("zlib", description="The compression that clients may ask for.")
    proxy_protocol: list[Network] = Field(
        [], description="Addresses, networks, or `unix`: connections from there begin with a PROXY protocol header."
    )


class SecretForm(Form):
    """A password, written in exactly one of three ways."""

    password: str | None = Field(None, description="The password itself.")
    password_env: Name | None = Field(None, description="The environment variable that holds it.")
    password_file: Name | None = Field(None, description="The file that holds it, relative to the rules file.")


class UserForm(SecretForm):
    """An account that applications log in with. The same account is used on the servers."""

    admin: bool = Field(False, description="May use SHOW TURNOUT, TURNOUT EXPLAIN and KILL of other accounts.")
    reads: Name | None = Field(None, description="Not supported yet: always read this reporting database.")
    auth: Literal["mysql_native_password", "caching_sha2_password"] | None = Field(
        None, description="The authentication plugin to ask of clients. Absent: the one that the client prefers."
    )
    result_rows: ResultRows | None = Field(None, description="As in limits, for this account. Absent: as it is there.")
    result_bytes: Size | None = Field(None, description="As in limits, for this account. Absent: as it is there.")


class ServiceForm(SecretForm):
    """Turnout's own account on the servers: health checks, catalog."""

    user: Name = Field(description="The account's name.")


class ClusterTlsForm(Form):
    """TLS towards the servers of a cluster. Paths are relative to the rules file."""

    ca: Name | None = Field(None, description="PEM file with the CA; the server's name is checked as well.")
    cert: Name | None = Field(None, description="PEM file with our certificate, if servers ask for one.")
    key: Name | None = Field(None, description="PEM file with our private key.")
    verify: bool = Field(True, description="Check the server's certificate.")


class ClusterForm(Form):
    """One primary server and its replicas."""

    primary: Address = Field(description="The server that takes writes.")
    replicas: list[Address] = Field([], description="Servers that replicate from it.")
    service: ServiceForm | None = None
    tls: ClusterTlsForm | None = None
    max_connections: Count = Field(100, description="Connections to each of its servers, per worker.")
    compression: Literal["off", "zlib"] = Field("off", description="Compress what is said to its servers and back.")
    proxy_protocol: Literal["off", "v1", "v2"] = Field(
        "off", description="Tell its servers the address of the client, by a header of this version."
    )
    cores: Annotated[int, Field(ge=1, le=9999)] | None = Field(
        None, description="Processor cores of each of its servers, which advice reckons with."
    )


_METHOD = "How a key finds its cluster: hash, range, list or directory."


class HashForm(Form):
    """CRC32(key) % 4096 is a row's slot, and the slot says the cluster."""

    method: Literal["hash"] = Field(description=_METHOD)
    clusters: list[Name] | None = Field(None, min_length=1, description="The slots in equal shares, in this order.")
    slots: dict[str, SlotRanges] | None = Field(None, description="Which cluster has which of the slots 0 to 4095.")


class RangeForm(Form):
    """One range of a range sharding."""

    below: KeyValue | None = Field(None, description="Keys below it, down to the range before. Absent in the last.")
    cluster: Name = Field(description="The cluster that these keys are on.")


class RangesForm(Form):
    """Ascending ranges of keys."""

    method: Literal["range"] = Field(description=_METHOD)
    ranges: list[RangeForm] = Field(min_length=1, description="Ascending; the last has no `below`.")


class ListForm(Form):
    """Keys one by one."""

    method: Literal["list"] = Field(description=_METHOD)
    values: dict[str, Annotated[list[KeyValue], Field(min_length=1)]] = Field(
        min_length=1, description="The keys of each cluster."
    )
    default: Name | None = Field(None, description="The cluster of all other keys. Absent: they are refused.")


class DirectoryForm(Form):
    """A table on home says each key's cluster."""

    method: Literal["directory"] = Field(description=_METHOD)
    table: Annotated[str, _worded(_qualified), WithJsonSchema({"type": "string", "pattern": r"^[^.]+\.[^.]+$"})] = (
        Field(description="The table, with its database: it has a column `cluster`, and one unique key, the shard key.")
    )
    clusters: list[Name] | None = Field(
        None, min_length=1, description="The clusters that can have rows. Absent: every cluster of this file."
    )
    weights: dict[str, Weight] | None = Field(
        None, min_length=1, description="Shares of new keys, by cluster. Default: 1 each; 0: gets no new keys."
    )


ShardingForm = Annotated[HashForm | RangesForm | ListForm | DirectoryForm, Field(discriminator="method")]


class ReadsForm(Form):
    """Where reads may go."""

    from_: Literal["primary", "replicas"] | None = Field(None, alias="from", description="Default: primary.")
    max_lag: Duration | None = Field(None, description="A replica further behind is not read from. Default: 5s.")
    own_writes: bool | None = Field(None, description="A session sees its own writes on replicas. Default: true.")


class CacheClassForm(Form):
    """Reads that pin these columns are served from memory."""

    by: list[Name] = Field(min_length=1, description="The columns of the class.")
    ttl: PositiveDuration | None = Field(
        None, description="NOT coherent: values are served until they are this old. For servers without a binary log."
    )


CacheClasses = Annotated[
    Annotated[CacheClassForm, Tag("one")] | Annotated[list[CacheClassForm], Tag("several"), Field(min_length=1)],
    Discriminator(lambda value: "several" if isinstance(value, list) else "one"),
]


class TableForm(Form):
    """One table: on a `cluster`, or spread by a `sharding` and its `key`, or `everywhere`; else on home."""

    cluster: Name | None = Field(None, description="The cluster that the whole table is on.")
    sharding: Name | None = Field(None, description="The sharding that spreads its rows.")
    key: Name | None = Field(None, description="The column whose value says where a row is.")
    everywhere: Literal[True] | None = Field(None, description="A full copy on every cluster.")
    reads: ReadsForm | None = None
    cache: CacheClasses | None = Field(None, description="One cache class, or several.")


class DatabaseForm(Form):
    """A database: its home, and the tables that something else is said about."""

    home: Name | None = Field(None, description="The cluster of every table without a rule of its own.")
    reads: ReadsForm | None = None
    tables: Annotated[dict[str, Annotated[TableForm, EmptyAsMapping]], EmptyAsMapping] = Field(
        {}, description="Tables, by name."
    )


class CacheForm(Form):
    """Where cached results are kept."""

    memcached: list[Address] = Field([], description="Shared between workers and hosts.")
    local: Size = Field(64 << 20, description="Memory per worker.")
    max_staleness: PositiveDuration = Field(0.5, description="How long another way's write may stay unseen.")
    max_value: Size = Field(256 << 10, description="Longer answers are not kept.")
    verify: Share = Field(0.0, description="This share of what is served from memory is compared with the primary.")


class WorkbenchForm(Form):
    """A server that finishes SELECTs over several clusters which cannot be merged."""

    cluster: Name = Field(description="The cluster whose primary does it.")
    max_rows: RowCount = Field(1_000_000, description="Rows that one statement may pull.")
    max_time: PositiveDuration = Field(30.0, description="Time that one statement may take until its answer begins.")


Workbench = Annotated[
    Annotated[Literal["off"], Tag("off")] | Annotated[WorkbenchForm, Tag("on")],
    Discriminator(lambda value: "on" if isinstance(value, dict) else "off"),
]

_HEALTH, _POOL, _LIMITS = model.Health(), model.Pool(), model.Limits()


class HealthForm(Form):
    """How servers are watched."""

    every: PositiveDuration = Field(_HEALTH.every_s, description="Between two probes of a server.")
    timeout: PositiveDuration = Field(_HEALTH.timeout_s, description="Without an answer for so long, it is down.")
    connect_timeout: PositiveDuration = Field(_HEALTH.connect_timeout_s, description="To connect and log in.")


class PoolForm(Form):
    """Connections to the servers."""

    wait: PositiveDuration = Field(_POOL.wait_s, description="How long a statement may wait for a connection.")
    max_waiters: Count = Field(_POOL.max_waiters, description="How many may wait, per pool.")
    max_idle: PositiveDuration = Field(_POOL.max_idle_s, description="An idle connection is closed after it.")
    max_age: PositiveDuration = Field(_POOL.max_age_s, description="A connection is not used again after it.")
    max_statements: Count = Field(_POOL.max_statements, description="Prepared statements kept on one connection.")


class LimitsForm(Form):
    """What one client, or one stop, may take."""

    login: PositiveDuration = Field(_LIMITS.login_s, description="How long a client may take to log in.")
    drain: Duration = Field(_LIMITS.drain_s, description="How long transactions may take to finish at a stop.")
    max_packet: PacketSize = Field(_LIMITS.max_packet, description="A client's statement.")
    slow_statement: Duration = Field(_LIMITS.slow_statement_s, description="Slower ones are logged, without literals.")
    logins_per_second: Rate = Field(_LIMITS.logins_per_second, description="Logins a second, per worker; 0: any.")
    logins_per_address: Rate = Field(_LIMITS.logins_per_address, description="The same, from one address; 0: any.")
    idle: PositiveDuration | None = Field(
        None, description="A client that says nothing for so long is dismissed. Absent: the servers' wait_timeout."
    )
    statement: PositiveDuration | None = Field(
        None, description="A statement that takes longer is killed on its server. Absent: none is."
    )
    session_memory: Size = Field(_LIMITS.session_memory, description="What one session's prepared statements may take.")
    result_rows: ResultRows = Field(
        _LIMITS.result_rows, description="Rows that the answer to one statement may have; 0: any number."
    )
    result_bytes: Size = Field(
        _LIMITS.result_bytes, description="Bytes that the rows of one answer may have; 0: any number."
    )
    shapes: Count = Field(_LIMITS.shapes, description="Plans kept per worker, and shapes measured.")


class HistoryForm(Form):
    """What statements cost, by minute, hour and day."""

    file: Name = Field(description="An SQLite file of bounded size, made if need be; relative to the rules file.")


class FileForm(Form):
    """routing_rules.yaml, the rules of a Turnout proxy."""

    model_config = ConfigDict(title="Turnout routing rules")

    turnout: Version | None = Field(None, description="The version of this format: 1.")
    listen: ListenForm | None = None
    workers: Workers = Field(1, description="Processes; auto: one per core.")
    scheduling: Literal["batch", "normal"] = Field(
        "batch", description="Whether a worker that wakes up waits for processes that run, or interrupts them."
    )
    busy_poll: Literal["off", "scatter", "all"] | None = Field(
        None, description="What a worker stays awake for. Absent: scatter, if processors are not rationed."
    )
    users: Annotated[dict[str, UserForm], EmptyAsMapping] = Field({}, description="Accounts of applications, by name.")
    users_from: Name | None = Field(None, description="Take accounts from the grant tables of this cluster.")
    clusters: Annotated[dict[str, ClusterForm], EmptyAsMapping] = Field({}, description="Clusters, by name.")
    service: ServiceForm | None = None
    shardings: Annotated[dict[str, ShardingForm], EmptyAsMapping] = Field({}, description="Shardings, by name.")
    databases: Annotated[dict[str, Annotated[DatabaseForm, EmptyAsMapping]], EmptyAsMapping] = Field(
        {}, description="Databases, by name."
    )
    cache: CacheForm | None = None
    transactions: Literal["atomic", "best_effort", "single"] = Field(
        "single", description="Writes on several clusters in one transaction."
    )
    workbench: Workbench = Field("off", description="Where SELECTs over several clusters are finished.")
    health: HealthForm = Field(HealthForm.model_validate({}))
    pool: PoolForm = Field(PoolForm.model_validate({}))
    limits: LimitsForm = Field(LimitsForm.model_validate({}))
    history: HistoryForm | None = Field(None, description="Where measurements are kept. Absent: in memory alone.")


SHARDING_FORMS: dict[str, type[Form]] = {
    "hash": HashForm,
    "range": RangesForm,
    "list": ListForm,
    "directory": DirectoryForm,
}
