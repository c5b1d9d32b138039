"""Rules on their way from the supervisor to its own processes, as a pickle: these need neither the reader of YAML nor
the forms that check it, which are a third of their start, and cannot come to another reading than the supervisor did.
"""

from __future__ import annotations

import pickle

from proxy.rules.model import Rules


def pack(rules: Rules) -> bytes:
    return pickle.dumps(rules, pickle.HIGHEST_PROTOCOL)


def unpack(data: bytes) -> Rules:
    """Only ever what `pack` made, from a process of the same Turnout: a pickle can run anything."""
    rules = pickle.loads(data)
    assert isinstance(rules, Rules)
    return rules
