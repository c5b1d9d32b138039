"""docs/SQL.md has a row for every reason by which a statement is refused, and for no other."""

from __future__ import annotations

import re
from pathlib import Path

from proxy.plan import refusals

DOCUMENT = Path(__file__).parents[2] / "docs" / "SQL.md"


def test_every_reason_is_listed_and_no_other() -> None:
    table = DOCUMENT.read_text().partition("## What is refused")[2]
    listed = {
        reason
        for line in table.splitlines()
        if line.startswith("| `")
        for reason in re.findall(r"`([a-z0-9-]+)`", line.split("|")[1])
    }
    assert listed == {refusal.slug for refusal in refusals.ALL}
