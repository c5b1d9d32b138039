"""docs/PROTOCOL.md says of every command, capability flag and plugin what the code does with it."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

from proxy.back.server import BASE_CAPABILITIES
from proxy.front import commands
from proxy.front.listener import OFFERED, RESULT_FLAGS
from proxy.wire import capability, command, server_login
from proxy.wire.handshake import CACHING_SHA2, NATIVE

DOCUMENT = (Path(__file__).parents[2] / "docs" / "PROTOCOL.md").read_text()
BY_THE_RULES = capability.COMPRESS | capability.SSL
ADDED_BY_THE_LOGIN = capability.PLUGIN_AUTH | capability.PLUGIN_AUTH_LENENC  # proxy.wire.server_login


def table(title: str) -> dict[str, list[str]]:
    """The rows of a section's table: name -> the other cells."""
    section = DOCUMENT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    found: dict[str, list[str]] = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            name, *rest = (cell.strip() for cell in line.strip("|").split("|"))
            assert name.strip("`") not in found, f"{name} is listed twice"
            found[name.strip("`")] = rest
    return found


def numbers(module: ModuleType, pattern: str) -> dict[str, int]:
    return {name: value for name, value in vars(module).items() if re.fullmatch(pattern, name)}


def test_commands() -> None:
    answered = {command.COM_QUERY, *commands._HANDLERS}
    expected = {
        name: "supported" if number in answered else "refused" for name, number in numbers(command, "COM_.*").items()
    }
    assert {name: cells[0] for name, cells in table("Commands").items()} == expected


def test_capability_flags() -> None:
    def for_clients(flag: int) -> str:
        return "by the rules" if flag & BY_THE_RULES else "offered" if flag & OFFERED else "not offered"

    def for_servers(flag: int) -> str:
        if flag & BY_THE_RULES:
            return "by the rules"
        always = flag & (BASE_CAPABILITIES | ADDED_BY_THE_LOGIN)
        return "always" if always else "as the client" if flag & RESULT_FLAGS else "never"

    flags = numbers(capability, "[A-Z_0-9]+")
    assert len(flags) == 32
    assert {name: cells[:2] for name, cells in table("Capability flags").items()} == {
        name: [for_clients(flag), for_servers(flag)] for name, flag in flags.items()
    }


def test_plugins() -> None:
    expected = {plugin: ["supported", "supported"] for plugin in (NATIVE, CACHING_SHA2)}
    expected |= {plugin: ["not offered", "refused"] for plugin in server_login._WHY_NOT}
    assert table("Authentication plugins") == expected
