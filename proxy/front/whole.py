"""A statement of several steps that is carried out wholly or not at all.

In the session's transaction it begins with a savepoint on every cluster that has joined (those that join on the way get
it too, as they get the client's savepoints), to which a failure goes back. Outside of one it has a transaction of its
own, which joins clusters as the client's does: under `transactions: atomic` it is committed on all or on none.
"""

from __future__ import annotations

from proxy.front.session import Session, checked
from proxy.front.transactions import begin_pinned, finish

_NAME = "turnout_statement"
_SAVEPOINT = b"SAVEPOINT turnout_statement"


class Whole:
    """See the module. Use as a context manager; `commit` is to be called when all is done."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.alone = not session.in_transaction and session.autocommit  # in a transaction of its own
        self._ended = False

    async def __aenter__(self) -> Whole:
        session = self._session
        transaction = session.transaction
        if self.alone:
            transaction.clear()
            transaction.explicit = True
            try:
                for cluster in session.pinned:
                    if cluster in session.held:
                        await begin_pinned(session, session.held[cluster], cluster)
            except BaseException:
                await self.__aexit__(None, None, None)
                raise
        else:
            for connection in session.held.values():
                await checked(connection, b"\x03" + _SAVEPOINT)
            transaction.savepoints.append((_NAME, _SAVEPOINT))
        return self

    async def commit(self) -> None:
        """All is done. Raises TurnoutError when it cannot be kept."""
        self._ended = True
        session = self._session
        if not self.alone:
            self._forget()
            return
        try:
            await finish(session, b"COMMIT", list(session.held))
        finally:
            session.transaction.clear()

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        session = self._session
        if self._ended or session.closed:  # whoever closes the session rolls back
            return
        self._ended = True
        if self.alone:
            try:
                await finish(session, b"ROLLBACK", list(session.held))
            finally:
                session.transaction.clear()
            return
        self._forget()
        for connection in list(session.held.values()):
            if connection.aborted is not None:
                continue
            await connection.command(b"\x03ROLLBACK TO " + _SAVEPOINT)
            if connection.scanner.errno:  # the server had rolled back the whole transaction: so do the others
                await finish(session, b"ROLLBACK", list(session.held))
                session.transaction.clear()
                return

    def _forget(self) -> None:
        savepoints = self._session.transaction.savepoints
        savepoints[:] = [each for each in savepoints if each[0] != _NAME]
