"""The files for deployment agree with each other, with the rules and with real servers."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from proxy.rules.loader import load, warnings
from tests.servers import Run
from tests.servers.process import wait_until

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
INSTRUCTIONS = frozenset(
    ["FROM", "WORKDIR", "RUN", "COPY", "ENV", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"]
)


def yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return dict(yaml(DEPLOY / "compose.yaml")["services"])


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def test_compose_names_what_exists(services: dict[str, Any]) -> None:
    assert {"main", "memcached", "prometheus", "turnout"} <= services.keys()
    volumes = yaml(DEPLOY / "compose.yaml")["volumes"]
    for name, service in services.items():
        assert ("image" in service) != ("build" in service), name
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            assert (DEPLOY / source).is_file() if source.startswith(".") else source in volumes, mount
        needs = service.get("depends_on", {})
        for other in needs:
            assert other in services
            if isinstance(needs, dict) and needs[other]["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), "published on loopback only"


def test_compose_rules_are_valid_and_name_its_services(services: dict[str, Any]) -> None:
    rules = load(DEPLOY / "routing_rules.yaml", services["turnout"]["environment"])
    assert not warnings(rules)
    for cluster in rules.clusters.values():
        for address in (cluster.primary, *cluster.replicas):
            assert address.host in services
            assert address.port == 3306
    assert rules.listen.http is not None
    published = {port.split(":")[-1] for port in services["turnout"]["ports"]}
    assert published == {str(rules.listen.mysql.port), str(rules.listen.http.port)}
    mounted = services["turnout"]["volumes"][0].split(":")[1]
    assert ("CMD", f'["serve", "{mounted}"]') in instructions()
    grace = services["turnout"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) > rules.limits.drain_s


def test_prometheus_scrapes_turnout(services: dict[str, Any]) -> None:
    (job,) = yaml(DEPLOY / "prometheus.yml")["scrape_configs"]
    rules = load(DEPLOY / "routing_rules.yaml", services["turnout"]["environment"])
    assert rules.listen.http is not None
    assert job["static_configs"] == [{"targets": [f"turnout:{rules.listen.http.port}"]}]


def test_dockerfile_copies_what_exists_and_drops_root() -> None:
    steps = instructions()
    assert {name for name, _ in steps} <= INSTRUCTIONS
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name, rest in steps:
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists()
                assert source in allowed
    last = max(index for index, (name, _) in enumerate(steps) if name == "FROM")
    assert ("USER", "turnout") in steps[last:]
    (check,) = [rest for name, rest in steps if name == "HEALTHCHECK"]
    command = yaml_list(check.partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")
    health = dict(word.split("=", 1) for name, rest in steps[last:] if name == "ENV" for word in shlex.split(rest))
    rules = load(DEPLOY / "routing_rules.yaml", {"APP_PASSWORD": "a", "OPS_PASSWORD": "b", "TURNOUT_PASSWORD": "c"})
    assert rules.listen.http is not None
    assert health["TURNOUT_HEALTH"] == f"http://127.0.0.1:{rules.listen.http.port}/healthz"


def yaml_list(text: str) -> list[str]:
    return list(YAML(typ="safe").load(text))


def locked(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), re.MULTILINE))


def test_lock_files_agree_hold_every_dependency_and_name_no_index() -> None:
    everything, runtime = locked(ROOT / "requirements.lock"), locked(DEPLOY / "requirements.lock")
    built = locked(DEPLOY / "build.lock")
    assert runtime.items() <= built.items() <= everything.items()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = settings["project"]
    extras = project["optional-dependencies"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[^\w.-]", each)[0].lower().replace("_", "-").replace(".", "-") for each in requirements}

    assert names(project["dependencies"]) <= runtime.keys()
    assert names(extras["build"]) <= built.keys()
    # What is compiled where it is built apart from the environment sees the same packages.
    assert set(settings["build-system"]["requires"]) == {*project["dependencies"], *extras["build"]}
    assert names([*extras["dev"], *extras["clients"]]) <= everything.keys()
    for path in (ROOT / "requirements.lock", DEPLOY / "requirements.lock", DEPLOY / "build.lock"):
        assert not re.search(r"https?:|--(extra-)?index-url|--find-links|file://", path.read_text())
        assert path.read_text().count("--hash=sha256:") >= len(locked(path))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_unit_is_valid(tmp_path: Path) -> None:
    text = (DEPLOY / "turnout.service").read_text()
    assert "/opt/turnout/bin/turnout serve" in text
    unit = tmp_path / "turnout.service"
    unit.write_text(text.replace("/opt/turnout/bin/turnout", "/bin/true"))
    checked = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert [line for line in checked.stderr.splitlines() if str(unit) in line or "turnout.service" in line] == []
    unit.write_text(text.replace("ProtectHome", "ProtectHome2").replace("/opt/turnout/bin/turnout", "/bin/true"))
    broken = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "ProtectHome2" in broken.stderr


@pytest.mark.servers
def test_compose_files_work_on_real_servers(services: dict[str, Any]) -> None:
    """The init scripts in compose's order on servers with its options, and Turnout with its rules before them."""
    with Run() as run:

        def start(name: str) -> Any:
            service = services[name]
            server = run.mariadb(name, options=service["command"])
            for mount in service["volumes"]:
                if "docker-entrypoint-initdb.d" in mount:
                    script = (DEPLOY / mount.split(":")[0]).read_text()
                    if name == "main-replica":
                        script = script.replace("'main', MASTER_PORT = 3306", f"'127.0.0.1', MASTER_PORT = {main.port}")
                        assert str(main.port) in script
                    server.load(script)
            server.restart()  # as the image does after its init scripts
            return server

        main = start("main")
        replica, media = start("main-replica"), start("media")
        replica.primary = main
        replica.catch_up()
        assert replica.execute("SELECT COUNT(*) FROM shop.products") == ((3,),)
        addresses = {"main:3306": main.address, "main-replica:3306": replica.address, "media:3306": media.address}
        rules = (DEPLOY / "routing_rules.yaml").read_text()
        for old, new in addresses.items():
            assert f'"{old}"' in rules
            rules = rules.replace(f'"{old}"', f'"{new}"')
        rules = rules.replace("0.0.0.0:3307", "127.0.0.1:@MYSQL_PORT@").replace("0.0.0.0:9307", "127.0.0.1:@HTTP_PORT@")
        turnout = run.turnout(rules.replace("workers: auto", "workers: 1"), **services["turnout"]["environment"])
        with turnout.connect("app", "app-secret", "shop") as connection, connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM products")
            assert cursor.fetchone() == (3,)
            cursor.execute("SELECT url FROM photos WHERE product_id = 3")
            assert cursor.fetchall() == (("/photos/turnout-left.jpg",),)
            cursor.execute("INSERT INTO products (name, price) VALUES ('Buffer stop', 20)")
            cursor.execute("SELECT COUNT(*) FROM products")
            assert cursor.fetchone() == (4,)
        assert main.execute("SELECT COUNT(*) FROM shop.products") == ((4,),)
        wait_until(lambda: turnout.get("/healthz")[0] == 200, 5)
