"""A MariaDB server of a run: small, loopback only, row binary log with GTIDs, replicas on demand."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pymysql
from pymysql.connections import Connection

from tests.servers.process import NotReady, Process, wait_until
from tests.servers.tls import Certificate

LOG_FILE = "--innodb-log-file-size=8M"
# What routing_rules.yaml tells operators to grant. TRIGGER is what information_schema.TRIGGERS asks of those who want
# to see its rows. INSERT or UPDATE on *.* would cover mysql.*, and with it every account.
SERVICE_GRANTS = "SELECT, SHOW VIEW, TRIGGER, PROCESS, REPLICATION CLIENT, REPLICATION SLAVE, REPLICA MONITOR ON *.*"

# On turnout.*, its own tables: sequences, and decisions of `transactions: atomic`.
OWN_GRANTS = "SELECT, INSERT, UPDATE, DELETE, CREATE ON turnout.*"


def without_tls(options: Mapping[str, Any]) -> dict[str, Any]:
    """PyMySQL's options, with TLS only where one of them asks for it: to make ready for what it may use by default
    takes 35 ms of CPU for each connection."""
    asked = any(name.startswith("ssl") for name in options)
    return {"autocommit": True, **({} if asked else {"ssl_disabled": True}), **options}


def make_template(folder: Path, environment: Mapping[str, str]) -> Path:
    """A fresh data folder, made once per run and copied for every server (half a second against 10 ms)."""
    data = folder / "data"
    made = subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={data}",
            # A MariaDB server that starts removes every temporary table in its tmpdir: in /tmp, other servers' too.
            f"--tmpdir={folder}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=16M",
            LOG_FILE,
            *as_root(),
        ],
        capture_output=True,
        text=True,
        env=dict(environment),
        check=False,
    )
    if made.returncode:
        raise NotReady(f"mariadb-install-db failed with {made.returncode}\n{made.stdout}{made.stderr}")
    return data


def copy_template(template: Path, data: Path) -> None:
    shutil.copytree(template, data)


def as_root() -> list[str]:
    """MariaDB refuses to run as root unless told so."""
    return ["--user=root"] if os.geteuid() == 0 else []


class MariaDB(Process):
    """One server. Its root account has no password and can log in through the Unix socket only (see `admin`)."""

    def __init__(
        self,
        name: str,
        folder: Path,
        port: int,
        server_id: int,
        environment: Mapping[str, str],
        *,
        tls: Certificate | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.port = port
        self.server_id = server_id
        self.socket = folder / "socket"
        self.tls = tls
        self.primary: MariaDB | None = None
        self.replicas: list[MariaDB] = []
        tls_options = [f"--ssl-ca={tls.ca}", f"--ssl-cert={tls.cert}", f"--ssl-key={tls.key}"] if tls else []
        argv = [
            "mariadbd",
            "--no-defaults",
            f"--datadir={folder / 'data'}",
            f"--socket={self.socket}",
            f"--pid-file={folder / 'pid'}",
            f"--tmpdir={folder}",
            "--bind-address=127.0.0.1",
            f"--port={port}",
            "--skip-name-resolve",
            f"--server-id={server_id}",
            "--log-bin=binlog",
            "--binlog-format=ROW",
            "--gtid-strict-mode=1",
            "--log-slave-updates=1",
            "--relay-log=relay",
            "--slave-net-timeout=10",
            "--innodb-buffer-pool-size=32M",
            LOG_FILE,
            "--innodb-flush-log-at-trx-commit=2",
            "--sync-binlog=0",
            # A killed process loses nothing by this, only a host that fails would: every DDL syncs files otherwise.
            "--debug-no-sync",
            "--innodb-flush-method=nosync",
            "--key-buffer-size=1M",
            "--aria-pagecache-buffer-size=4M",
            "--performance-schema=0",
            "--max-connections=1000",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_general_ci",
            *as_root(),
            *tls_options,
            *options,
        ]
        super().__init__(name, argv, folder / "log", environment)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ready(self) -> bool:
        try:
            self.admin().close()
        except pymysql.err.OperationalError as error:
            raise OSError(str(error)) from error
        return True

    def connect(self, user: str, password: str = "", database: str | None = None, **options: Any) -> Connection:
        """A PyMySQL connection over TCP, autocommit on unless said otherwise."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=user,
            password=password,
            database=database,
            **without_tls(options),
        )

    def admin(self, database: str | None = None, **options: Any) -> Connection:
        """As root, through the Unix socket. Raises OSError when nothing listens there."""
        connection = pymysql.connect(
            user="root", database=database, defer_connect=True, **without_tls({"read_timeout": 60, **options})
        )
        # PyMySQL does not close a Unix socket that it could not connect, which is an error in tests.
        unix = socket.socket(socket.AF_UNIX)
        try:
            unix.settimeout(10)
            unix.connect(str(self.socket))
        except OSError:
            unix.close()
            raise
        connection.connect(unix)
        return connection

    def execute(self, *statements: str, database: str | None = None) -> tuple[tuple[Any, ...], ...]:
        """Runs the statements as root; returns the last one's rows."""
        connection = self.admin(database)
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return tuple(cursor.fetchall())
        finally:
            connection.close()

    def create_account(
        self,
        name: str,
        password: str = "",
        grants: str = "ALL PRIVILEGES ON *.*",
        *,
        require: str = "",
        host: str = "%",
    ) -> None:
        """An account that can log in over TCP; `grants` as in GRANT .. TO, `require` e.g. `SSL` or `X509`."""
        quoted = f"{_quote(name)}@{_quote(host)}"
        self.execute(
            f"CREATE OR REPLACE USER {quoted} IDENTIFIED BY {_quote(password)}"
            + (f" REQUIRE {require}" if require else ""),
            f"GRANT {grants} TO {quoted}",
        )

    def create_service_account(self, name: str = "turnout", password: str = "turnout") -> None:
        """The account with which Turnout itself logs in, with what it is documented to need."""
        self.create_account(name, password, SERVICE_GRANTS)
        self.execute(f"GRANT {OWN_GRANTS} TO {_quote(name)}@'%'")

    def load(self, dump: str, database: str | None = None) -> None:
        """Runs a script of statements through the `mariadb` client, which knows DELIMITER and the like."""
        argv = ["mariadb", "--no-defaults", f"--socket={self.socket}", "--user=root", *([database] if database else [])]
        subprocess.run(argv, input=dump.encode(), env=self.environment, check=True, capture_output=True)

    # replication

    def follow(self, primary: MariaDB, delay_s: int = 0) -> None:
        """Starts to replicate `primary` from the beginning of its binary logs."""
        primary.create_account("replication", "replication", "REPLICATION SLAVE ON *.*")
        self.primary = primary
        primary.replicas.append(self)
        self.execute(
            "SET GLOBAL gtid_slave_pos = ''",
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={primary.port}, MASTER_USER='replication',"
            " MASTER_PASSWORD='replication', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1,"
            f" MASTER_HEARTBEAT_PERIOD=1, MASTER_DELAY={delay_s}",
            "START SLAVE",
        )

    def set_delay(self, delay_s: int) -> None:
        """Makes this replica apply every event `delay_s` seconds after the primary wrote it."""
        self.execute("STOP SLAVE", f"CHANGE MASTER TO MASTER_DELAY={delay_s}", "START SLAVE")

    def stop_replication(self) -> None:
        self.execute("STOP SLAVE")

    def start_replication(self) -> None:
        self.execute("START SLAVE")

    def gtid_position(self) -> str:
        """The last transaction in this server's own binary log."""
        return str(self.execute("SELECT @@gtid_binlog_pos")[0][0])

    def catch_up(self, deadline_s: float = 30.0) -> None:
        """Waits until this replica has applied what its primary has now. Raises TimeoutError, NotReady."""
        if self.primary is None:
            raise RuntimeError(f"{self.name} is not a replica")
        position = self.primary.gtid_position()

        def applied() -> bool:
            (found,) = self.execute(f"SELECT MASTER_GTID_WAIT('{position}', 0.5)")[0]
            if found != 0 and (error := self.replication_error()):
                raise NotReady(f"{self.name} does not replicate: {error}")
            return bool(found == 0)

        wait_until(applied, deadline_s)

    def replication_error(self) -> str:
        connection = self.admin()
        try:
            with connection.cursor(pymysql.cursors.DictCursor) as cursor:
                cursor.execute("SHOW SLAVE STATUS")
                status = cursor.fetchone() or {}
        finally:
            connection.close()
        return str(status.get("Last_SQL_Error") or "")


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
