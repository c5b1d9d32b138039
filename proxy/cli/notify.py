"""Telling systemd how the service is (sd_notify(3)); silent when it did not ask (no NOTIFY_SOCKET)."""

from __future__ import annotations

import logging
import os
import socket
import time

log = logging.getLogger("turnout.supervisor")


def ready(status: str = "") -> None:
    _send("READY=1" + (f"\nSTATUS={status}" if status else ""))


def reloading() -> None:
    _send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping() -> None:
    _send("STOPPING=1")


def _send(message: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.connect("\0" + path[1:] if path[0] == "@" else path)
            channel.sendall(message.encode())
        except OSError as error:  # clients must not suffer from it
            log.warning("cannot notify systemd", extra={"reason": error.strerror})
