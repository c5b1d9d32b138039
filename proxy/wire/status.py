"""Server status flags in OK and EOF packets (MySQL `include/mysql_com.h`, "SERVER_STATUS_*")."""

from __future__ import annotations

from typing import Final

IN_TRANS: Final = 0x0001
AUTOCOMMIT: Final = 0x0002
MORE_RESULTS: Final = 0x0008
NO_GOOD_INDEX_USED: Final = 0x0010
NO_INDEX_USED: Final = 0x0020
CURSOR_EXISTS: Final = 0x0040
LAST_ROW_SENT: Final = 0x0080
DB_DROPPED: Final = 0x0100
NO_BACKSLASH_ESCAPES: Final = 0x0200
METADATA_CHANGED: Final = 0x0400
QUERY_WAS_SLOW: Final = 0x0800
PS_OUT_PARAMS: Final = 0x1000
IN_TRANS_READONLY: Final = 0x2000
SESSION_STATE_CHANGED: Final = 0x4000
ANSI_QUOTES: Final = 0x8000  # MariaDB only
