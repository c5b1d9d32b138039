"""The control socket: how `turnout reload` and `turnout status` reach a running supervisor.

A Unix socket of mode 0600, named after the rules file's real path, so that the command needs nothing but that file. It
speaks the protocol of `proxy.cli.link`: Show -> Rows, ReloadNow -> Outcome. Who may open the socket may do both.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from proxy.cli import link as wire
from proxy.cli.link import Link, LinkBroken
from proxy.cli.listening import remove_stale
from proxy.errors import TurnoutError

VARIABLE = "TURNOUT_CONTROL"  # the socket's path, where neither side should choose
_LONGEST = 107  # bytes of a Unix socket's path (unix(7))


class NoControl(TurnoutError):
    """No running Turnout was reached, or no place for its socket found; the message says where we looked."""


def candidates(rules: Path, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Where the socket of a supervisor that serves `rules` may be, best first."""
    if chosen := environ.get(VARIABLE):
        return [Path(chosen)]
    name = hashlib.blake2b(os.fsencode(os.path.realpath(rules)), digest_size=8).hexdigest() + ".sock"
    folders = [Path(folder) for folder in environ.get("RUNTIME_DIRECTORY", "").split(":") if folder]  # from systemd
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        folders.append(Path(runtime) / "turnout")
    folders += [Path("/run/turnout"), Path(tempfile.gettempdir()) / f"turnout-{os.getuid()}"]
    return list(dict.fromkeys(folder / name for folder in folders))


def place(rules: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """The first candidate that this process can use; its folder is made if need be. Raises NoControl."""
    tried = []
    for path in candidates(rules, environ):
        if len(os.fsencode(path)) > _LONGEST:
            tried.append(f"{path} is too long for a socket")
            continue
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            check_folder(path.parent)
        except OSError as error:
            tried.append(f"{path.parent}: {error.strerror or error}")
            continue
        if os.access(path.parent, os.W_OK | os.X_OK):
            return path
        tried.append(f"{path.parent}: not writable")
    raise NoControl(f"No place for the control socket ({'; '.join(tried)}): set {VARIABLE} to a path for it")


def check_folder(folder: Path) -> None:
    """Raises OSError when somebody else could put a socket of theirs there (a folder in /tmp made before ours).

    A folder of another user is fine where only root could make it, such as systemd's /run/turnout.
    """
    found = os.stat(folder)
    if found.st_uid not in (os.getuid(), 0) and os.stat(folder.parent).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{folder} belongs to another user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
        raise PermissionError(f"{folder} can be written by others")


class Control:
    """The supervisor's end."""

    def __init__(
        self,
        path: Path,
        show: Callable[[wire.Show], Awaitable[wire.Rows]],
        reload: Callable[[wire.ReloadNow], Awaitable[wire.Outcome]],
    ) -> None:
        self.path = path
        self._show = show
        self._reload = reload
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: set[Link] = set()

    async def start(self) -> None:
        """Raises OSError: EADDRINUSE when another supervisor serves the same rules file."""
        remove_stale(str(self.path))
        before = os.umask(0o177)  # so that the socket is private from its first moment
        try:
            self._server = await asyncio.get_running_loop().create_unix_server(self._connected, str(self.path))
        finally:
            os.umask(before)

    def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self._server = None
        self.path.unlink(missing_ok=True)
        for link in list(self._links):
            link.close()
        for task in self._tasks:
            task.cancel()

    def _connected(self) -> Link:
        link = Link(self)
        self._links.add(link)
        return link

    def received(self, link: Link, message: wire.Message) -> None:
        if isinstance(message, (wire.Show, wire.ReloadNow)):
            task = asyncio.create_task(self._answer(link, message), name="control")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            link.close()

    def closed(self, link: Link) -> None:
        self._links.discard(link)

    async def _answer(self, link: Link, message: wire.Show | wire.ReloadNow) -> None:
        link.send(await self._show(message) if isinstance(message, wire.Show) else await self._reload(message))


class _Command:
    """The command's end: it only asks."""

    def received(self, link: Link, message: wire.Message) -> None:
        link.close()

    def closed(self, link: Link) -> None:
        return


async def ask(paths: Sequence[Path], make: Callable[[int], wire.Message], timeout_s: float = 30.0) -> wire.Answer:
    """Ask the supervisor whose socket is the first of `paths` (see `candidates`) that is there. Raises NoControl."""
    tried = []
    for path in paths:
        try:
            if VARIABLE not in os.environ:
                check_folder(path.parent)
            _, link = await asyncio.get_running_loop().create_unix_connection(lambda: Link(_Command()), str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            tried.append(str(path))
            continue
        except PermissionError as error:
            tried.append(f"{path} ({str(error) if error.errno is None else 'permission denied'})")
            continue
        except OSError as error:
            raise NoControl(f"Turnout's control socket {path}: {error.strerror or error}") from error
        try:
            return await link.ask(make, timeout_s)
        except LinkBroken as error:
            raise NoControl(f"Turnout closed its control socket {path}: see its log") from error
        except TimeoutError as error:
            raise NoControl(f"Turnout did not answer within {timeout_s:g} s on {path}") from error
        finally:
            link.close()
    raise NoControl(
        f"No Turnout that serves these rules was found at {' or '.join(tried)}. Give the file that it was started "
        "with, as the same user or root"
    )
