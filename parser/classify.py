"""Which kind of statement it is, by its first word."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parser import data_statements as data
from parser import server_statements as server
from parser import session_statements as session
from parser.load_data import load_statement
from parser.source import Recurse, Source, admin_statement
from parser.statement import Statement
from parser.tokens import Token
from parser.tree import NotUnderstood


def read_statement(tokens: Sequence[Token], source: Source, recurse: Recurse) -> Statement:
    """The statement without its digest. Raises NotUnderstood. `recurse` reads statements inside of statements."""
    if not tokens:
        raise NotUnderstood("nothing where a statement was due")
    first = tokens[0]
    if first.is_mark("("):
        return data.select_statement(tokens, source, recurse)
    reader = _READERS.get(first.word)
    if reader is None:
        raise NotUnderstood("a statement that begins with no known word")
    return reader(tokens, source, recurse)


_Reader = Callable[[Sequence[Token], Source, Recurse], Statement]
_READERS: dict[str, _Reader] = {
    "SELECT": data.select_statement,
    "TABLE": data.select_statement,
    "VALUES": data.select_statement,
    "WITH": data.with_statement,
    "INSERT": data.insert_statement,
    "REPLACE": data.insert_statement,
    "UPDATE": data.update_statement,
    "DELETE": data.delete_statement,
    "LOAD": load_statement,
    "CALL": data.call_statement,
    "DO": data.do_statement,
    "SET": session.set_statement,
    "USE": session.use_statement,
    "BEGIN": session.begin_statement,
    "START": session.start_statement,
    "COMMIT": session.end_of_transaction_statement,
    "ROLLBACK": session.end_of_transaction_statement,
    "SAVEPOINT": session.savepoint_statement,
    "RELEASE": session.release_statement,
    "XA": session.xa_statement,
    "PREPARE": session.prepare_statement,
    "EXECUTE": session.execute_statement,
    "DEALLOCATE": session.deallocate_statement,
    "KILL": session.kill_statement,
    "SHOW": server.show_statement,
    "TURNOUT": server.turnout_statement,
    "EXPLAIN": server.explain_statement,
    "DESCRIBE": server.explain_statement,
    "DESC": server.explain_statement,
    "HELP": server.help_statement,
    "CREATE": server.definition_statement,
    "ALTER": server.definition_statement,
    "DROP": server.definition_statement,
    "RENAME": server.definition_statement,
    "TRUNCATE": server.definition_statement,
    "GRANT": server.account_statement,
    "REVOKE": server.account_statement,
    "LOCK": server.lock_statement,
    "UNLOCK": server.unlock_statement,
    "HANDLER": server.handler_statement,
    "FLUSH": server.flush_statement,
    "ANALYZE": server.maintenance_statement,
    "CHECK": server.maintenance_statement,
    "CHECKSUM": server.maintenance_statement,
    "OPTIMIZE": server.maintenance_statement,
    "REPAIR": server.maintenance_statement,
    "CACHE": server.cache_index_statement,
    "GET": server.diagnostics_statement,
    **dict.fromkeys(
        (
            "RESET",
            "PURGE",
            "CHANGE",
            "STOP",
            "INSTALL",
            "UNINSTALL",
            "SHUTDOWN",
            "RESTART",
            "CLONE",
            "IMPORT",
            "BINLOG",
        ),
        admin_statement,
    ),
}
