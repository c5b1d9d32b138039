"""Load on several targets at once, from threads that check every answer and note every failure."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.front.raw import Answer, Client, Disconnected, LoginFailed
from tests.servers import Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

PAUSE_S = 0.004  # between two statements of a thread: the machine has servers to run, too


def value(key: int) -> bytes:
    """What the row with this key holds, in every table and for ever."""
    return hashlib.sha256(b"%d" % key).hexdigest().encode()


@dataclass(frozen=True, slots=True)
class Target:
    """A table, the keys of it that are to be asked for, and whether rows may also be updated (`hits`)."""

    name: str
    table: str
    keys: Sequence[int]
    writes: bool


@dataclass(frozen=True, slots=True)
class Failure:
    sent: float
    took_s: float
    errno: int  # 0: the connection ended without an error
    message: str


@dataclass(slots=True)
class Worker:
    """What one thread has seen. Times are `time.monotonic()`."""

    target: Target
    answered: int = 0
    answered_at: float = 0.0
    slowest_s: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    acknowledged: int = 0  # updates
    uncertain: int = 0
    wrong: list[str] = field(default_factory=list)


class Load:
    """`threads` per target, until `stop`; a statement that takes longer than `limit_s` counts as a wrong answer."""

    def __init__(self, proxy: Turnout, targets: Sequence[Target], threads: int, limit_s: float, seed: int) -> None:
        self._proxy = proxy
        self._limit_s = limit_s
        self._ended = threading.Event()
        self.workers = [Worker(target) for target in targets for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._work, args=(worker, random.Random(seed + n)), daemon=True)
            for n, worker in enumerate(self.workers)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(self._limit_s + 5)
            assert not thread.is_alive(), "a statement hangs"

    def of(self, name: str) -> list[Worker]:
        return [worker for worker in self.workers if worker.target.name == name]

    def progress(self, workers: Sequence[Worker], statements: int, deadline_s: float) -> None:
        """Wait until each of these has had so many more answers. Raises TimeoutError."""
        goals = [worker.answered + statements for worker in workers]
        wait_until(lambda: all(w.answered >= goal for w, goal in zip(workers, goals, strict=True)), deadline_s)

    def wrong(self) -> list[str]:
        return [text for worker in self.workers for text in worker.wrong]

    def failures(self, workers: Sequence[Worker] | None = None) -> list[Failure]:
        return [failure for worker in (self.workers if workers is None else workers) for failure in worker.failures]

    def _work(self, worker: Worker, rng: random.Random) -> None:
        client: Client | None = None
        try:
            while not self._ended.wait(PAUSE_S):
                began = time.monotonic()
                try:
                    if client is None:
                        client = Client(self._proxy.port, APP, APP_PASSWORD, DATABASE, timeout_s=self._limit_s)
                    answer = self._ask(worker, client, rng)
                except TimeoutError:
                    worker.wrong.append(f"{worker.target.name}: no answer for {self._limit_s:g} s")
                    return
                except (Disconnected, ConnectionError, LoginFailed) as error:
                    if client is not None:
                        client.abort()
                        client = None
                    errno = error.errno if isinstance(error, LoginFailed) else 0
                    worker.failures.append(Failure(began, time.monotonic() - began, errno, str(error)))
                    continue
                took = time.monotonic() - began
                if answer.errno:
                    worker.failures.append(Failure(began, took, answer.errno, answer.message))
                else:
                    worker.answered += 1
                    worker.answered_at = time.monotonic()
                    worker.slowest_s = max(worker.slowest_s, took)
        except Exception as error:  # whatever else happens is a defect that the test has to show
            worker.wrong.append(f"{worker.target.name}: {error!r}")
        finally:
            if client is not None:
                client.abort()

    def _ask(self, worker: Worker, client: Client, rng: random.Random) -> Answer:
        target = worker.target
        choice = rng.random()
        if target.writes and choice < 0.2:
            key = rng.choice(target.keys)
            worker.uncertain += 1
            answer = client.query(f"UPDATE {target.table} SET hits = hits + 1 WHERE id = {key}")
            if answer.ok:
                worker.uncertain -= 1
                worker.acknowledged += 1
                if answer.affected_rows != 1:
                    worker.wrong.append(f"{target.name}: update of {key}: {answer}")
            return answer
        if choice < 0.9:
            keys = [rng.choice(target.keys)]
            sql = f"SELECT id, v FROM {target.table} WHERE id = {keys[0]}"
        else:
            keys = sorted(rng.sample(target.keys, 20))
            sql = f"SELECT id, v FROM {target.table} WHERE id IN ({', '.join(map(str, keys))}) ORDER BY id"
        answer = client.query(sql)
        if answer.ok and answer.rows != tuple((b"%d" % key, value(key)) for key in keys):
            worker.wrong.append(f"{target.name}: {sql}: {answer}")
        return answer
