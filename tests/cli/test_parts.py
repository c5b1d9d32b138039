"""The supervisor's small parts: sockets, the file watch, the control socket's place, systemd."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from proxy.cli import notify
from proxy.cli.control import NoControl, candidates, check_folder, place
from proxy.cli.listening import CannotListen, open_shared, remove_stale, reserve
from proxy.cli.watch import Watch, signature
from proxy.rules.model import Address


def test_workers_share_a_reserved_port_and_strangers_do_not() -> None:
    with reserve(Address("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)
        with open_shared("127.0.0.1", port) as one, open_shared("127.0.0.1", port) as other:
            one.listen()
            other.listen()
            socket.create_connection(("127.0.0.1", port), 1).close()
            with pytest.raises(CannotListen, match="Address already in use"):
                reserve(Address("127.0.0.1", port))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (Address("192.0.2.1", 4000), "This host does not have that address"),
        (Address("no-such-host.invalid", 4000), "Cannot listen on no-such-host.invalid:4000"),
        (Address(path="/no/such/folder/socket"), "No such file or directory"),
        (Address(path="/etc/passwd"), "not a socket is in the way"),
    ],
)
def test_why_an_address_cannot_be_used_is_said(address: Address, message: str) -> None:
    with pytest.raises(CannotListen, match=message):
        reserve(address)


def test_ipv6() -> None:
    with reserve(Address("::1", 0)) as reserved, open_shared("::1", reserved.getsockname()[1]) as shared:
        shared.listen()
        socket.create_connection(("::1", reserved.getsockname()[1]), 1).close()


def test_a_unix_socket_left_behind_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    reserve(Address(path=str(path))).close()
    assert path.exists()
    with reserve(Address(path=str(path))), pytest.raises(CannotListen, match="Address already in use"):
        reserve(Address(path=str(path)))
    remove_stale(str(path))
    assert not path.exists()
    remove_stale(str(path))


def test_a_change_is_seen_when_it_has_settled(tmp_path: Path) -> None:
    path = tmp_path / "rules"
    path.write_text("one")
    watch = Watch(path)
    assert [watch.poll(), watch.poll()] == [False, False]
    path.write_text("half")
    assert watch.poll() is False, "it may still be being written"
    path.write_text("whole")
    assert watch.poll() is False
    assert watch.poll() is True
    assert watch.poll() is False

    path.unlink()
    assert [watch.poll(), watch.poll()] == [False, False]
    path.write_text("back again")
    assert [watch.poll(), watch.poll(), watch.poll()] == [False, True, False]


def test_swapping_a_symbolic_link_is_a_change(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("same size")
        os.utime(tmp_path / name, (1, 1))
    link = tmp_path / "rules"
    link.symlink_to("a")
    watch = Watch(link)
    (tmp_path / "new").symlink_to("b")
    (tmp_path / "new").rename(link)
    assert [watch.poll(), watch.poll()] == [False, True]


def test_what_was_read_by_other_means_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "rules"
    path.write_text("one")
    watch = Watch(path)
    path.write_text("two and more")
    watch.accept(signature(path))
    assert [watch.poll(), watch.poll()] == [False, False]


def test_the_control_socket_is_named_after_the_real_file(tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    (tmp_path / "rules.yaml").touch()
    (tmp_path / "link.yaml").symlink_to("rules.yaml")
    assert candidates(tmp_path / "rules.yaml", environ) == candidates(tmp_path / "link.yaml", environ)
    assert candidates(tmp_path / "rules.yaml", environ) != candidates(tmp_path / "other.yaml", environ)
    found = place(tmp_path / "rules.yaml", environ)
    assert found.parent == tmp_path / "turnout"
    assert found.parent.stat().st_mode & 0o777 == 0o700


def test_the_control_socket_is_where_it_is_told_to_be(tmp_path: Path) -> None:
    assert place(Path("x"), {"TURNOUT_CONTROL": str(tmp_path / "s")}) == tmp_path / "s"
    with pytest.raises(NoControl, match="too long"):
        place(Path("x"), {"TURNOUT_CONTROL": "/" + "x" * 120})


def test_a_folder_that_others_can_write_is_not_trusted(tmp_path: Path) -> None:
    check_folder(tmp_path)
    tmp_path.chmod(0o777)
    with pytest.raises(PermissionError, match="written by others"):
        check_folder(tmp_path)
    tmp_path.chmod(0o1777)
    check_folder(tmp_path)  # like /tmp: others cannot replace what is ours


@pytest.mark.parametrize("abstract", [False, True])
def test_notify_reaches_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    path = f"@turnout-test-{os.getpid()}" if abstract else str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + path[1:] if abstract else path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        notify.ready("serving")
        assert channel.recv(100) == b"READY=1\nSTATUS=serving"
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify.stopping()
