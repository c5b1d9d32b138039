"""What the dashboard says of what to do next, and of what to leave alone."""

from __future__ import annotations

import msgspec

from proxy.admin.overview import Overview


class Step(msgspec.Struct, frozen=True):
    """One thing to do, the most urgent first."""

    table: str
    technique: str
    why: str
    rules: str = ""  # lines to put into the rules
    sure: str = ""


class LeaveAlone(msgspec.Struct, frozen=True):
    """A table that needs nothing."""

    table: str
    why: str
    unless: str = ""  # what would change that


class Advice(msgspec.Struct, frozen=True):
    headroom: str
    steps: list[Step]
    leave_alone: list[LeaveAlone]


def advice(overview: Overview) -> Advice | None:
    """None while there is none."""
    return None
