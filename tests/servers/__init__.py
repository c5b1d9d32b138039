"""Real servers on loopback for tests, the demo and the benchmarks: MariaDB, replicas, memcached, HAProxy, Turnout.

    with Run() as run:
        main = run.mariadb("main")
        replica = run.replica_of(main)
        main.create_account("app", "secret")
        with main.connect("app", "secret") as connection: ...

run       everything started by one process; ends with it, however it ends (see `tests.servers.watchdog`)
process   one program of a run: start, stop, kill, pause, resume, restart, CPU time, memory
server    a MariaDB server of a run
"""

from tests.servers.haproxy import HAProxy
from tests.servers.mariadb import MariaDB
from tests.servers.memcached import Memcached
from tests.servers.process import NotReady, Process
from tests.servers.run import Run
from tests.servers.shop import Shop
from tests.servers.tls import Authority, Certificate
from tests.servers.turnout import Turnout

__all__ = [
    "Authority",
    "Certificate",
    "HAProxy",
    "MariaDB",
    "Memcached",
    "NotReady",
    "Process",
    "Run",
    "Shop",
    "Turnout",
]
