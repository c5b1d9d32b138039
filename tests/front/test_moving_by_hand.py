"""The steps of docs/MOVING.md, while clients write: what was acknowledged is there afterwards, each row once."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from tests.front.conftest import end
from tests.front.raw import Client
from tests.servers import MariaDB, Run, Shop
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, OPS, OPS_PASSWORD

pytestmark = pytest.mark.servers
RULES = """\
{servers}
databases:
  shop:
    home: main
    tables: {{{table}}}
"""


def test_a_table_moves_to_another_server(run: Run, shop_servers: Shop, tmp_path: Path) -> None:
    main, media = shop_servers.main, shop_servers.media
    shop_servers.recreate()
    main.execute("CREATE TABLE photos (id INT PRIMARY KEY, v INT NOT NULL, caption TEXT)", database=DATABASE)
    servers = shop_servers.rules("main", "media")
    proxy = run.turnout(RULES.format(servers=servers, table=""), "moving")
    acknowledged: list[int] = []
    errors: set[int] = set()
    stop = threading.Event()

    def write() -> None:
        with Client(proxy.port, APP, APP_PASSWORD, DATABASE) as client:
            number = 0
            while not stop.is_set():
                number += 1
                answer = client.query(f"INSERT INTO photos VALUES ({number}, 0, 'über'), (-{number}, 1, NULL)")
                if answer.ok:
                    acknowledged.append(number)
                else:
                    errors.add(answer.errno)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        wait_until(lambda: len(acknowledged) > 50, 60)
        main.execute("RENAME TABLE photos TO photos_moving", database=DATABASE)
        wait_until(lambda: errors == {1146}, 60)
        before = len(acknowledged)
        dump(main, media, tmp_path / "photos.sql")
        media.execute("RENAME TABLE photos_moving TO photos", database=DATABASE)
        assert checksum(main, "photos_moving") == checksum(media, "photos")
        proxy.write_rules(RULES.format(servers=servers, table="photos: {cluster: media}"))
        wait_until(lambda: len(acknowledged) > before + 50, 60)
    finally:
        stop.set()
        writer.join(60)
        with Client(proxy.port, OPS, OPS_PASSWORD, DATABASE) as ops:
            told = {row[0]: row[1] for row in ops.query("TURNOUT EXPLAIN SELECT * FROM photos").rows}
        end(proxy)
    assert errors == {1146}
    assert b"media" in told.values()
    found = sorted(int(row[0]) for row in media.execute("SELECT id FROM photos", database=DATABASE))
    assert found == sorted([*acknowledged, *(-number for number in acknowledged)])
    assert main.execute("SHOW TABLES LIKE 'photos'", database=DATABASE) == ()


def dump(source: MariaDB, target: MariaDB, file: Path) -> None:
    with file.open("wb") as out:
        command = ["mariadb-dump", "--no-defaults", f"--socket={source.socket}", "-uroot", "--single-transaction"]
        subprocess.run([*command, DATABASE, "photos_moving"], stdout=out, check=True, timeout=120)
    with file.open("rb") as text:
        command = ["mariadb", "--no-defaults", f"--socket={target.socket}", "-uroot", DATABASE]
        subprocess.run(command, stdin=text, check=True, timeout=120)


def checksum(server: MariaDB, table: str) -> int:
    return int(server.execute(f"CHECKSUM TABLE {table}", database=DATABASE)[0][1])
