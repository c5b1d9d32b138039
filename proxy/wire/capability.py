"""Capability flags that client and server agree on at login (MySQL `include/mysql_com.h`, "CLIENT_*")."""

from __future__ import annotations

from typing import Final

LONG_PASSWORD: Final = 1  # MariaDB calls this CLIENT_MYSQL: when clear, its extended flags travel in a filler
FOUND_ROWS: Final = 2
LONG_FLAG: Final = 4
CONNECT_WITH_DB: Final = 8
NO_SCHEMA: Final = 16
COMPRESS: Final = 32
ODBC: Final = 64
LOCAL_FILES: Final = 128
IGNORE_SPACE: Final = 256
PROTOCOL_41: Final = 512
INTERACTIVE: Final = 1024
SSL: Final = 2048
IGNORE_SIGPIPE: Final = 4096
TRANSACTIONS: Final = 8192
RESERVED: Final = 16384
SECURE_CONNECTION: Final = 32768
MULTI_STATEMENTS: Final = 1 << 16
MULTI_RESULTS: Final = 1 << 17
PS_MULTI_RESULTS: Final = 1 << 18
PLUGIN_AUTH: Final = 1 << 19
CONNECT_ATTRS: Final = 1 << 20
PLUGIN_AUTH_LENENC: Final = 1 << 21
CAN_HANDLE_EXPIRED_PASSWORDS: Final = 1 << 22
SESSION_TRACK: Final = 1 << 23
DEPRECATE_EOF: Final = 1 << 24
OPTIONAL_RESULTSET_METADATA: Final = 1 << 25
ZSTD: Final = 1 << 26
QUERY_ATTRIBUTES: Final = 1 << 27
MULTI_FACTOR: Final = 1 << 28
CAPABILITY_EXTENSION: Final = 1 << 29
SSL_VERIFY_SERVER_CERT: Final = 1 << 30
REMEMBER_OPTIONS: Final = 1 << 31
