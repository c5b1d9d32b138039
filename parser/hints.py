"""`/* turnout: cluster=media, primary, no-cache */`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from parser.statement import Hint

_CLUSTER = re.compile(r"cluster\s*=\s*([^\s,=]+)", re.IGNORECASE)


def read_hints(texts: Sequence[str]) -> Hint | None:
    """All hints of a statement as one; None when there is none."""
    if not texts:
        return None
    cluster: str | None = None
    primary = no_cache = False
    unknown: list[str] = []
    for item in (part.strip() for text in texts for part in text.split(",")):
        named = _CLUSTER.fullmatch(item)
        if named is not None and cluster in (None, named[1]):
            cluster = named[1]
        elif item.lower() == "primary":
            primary = True
        elif item.lower() == "no-cache":
            no_cache = True
        else:
            unknown.append(item)
    return Hint(cluster, primary, no_cache, tuple(unknown))
