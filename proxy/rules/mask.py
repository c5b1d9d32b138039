"""The rules' text without its secrets."""

from __future__ import annotations

import re

from proxy.rules import tree
from proxy.rules.model import Rules

MASK = '"***"'

_IN_COMMENT = re.compile(r"""(password["']?\s*[:=]\s*)\S.*""", re.IGNORECASE)
_COMMENT = re.compile(r"(?:^|(?<=[\s,\[\]{}]))#.*", re.MULTILINE)


def masked_text(rules: Rules) -> str:
    """`rules.text` with every password replaced by `"***"`, for SHOW TURNOUT RULES; still YAML, and the same else.

    Values are found by their places in the YAML, however they are quoted or folded. In comments, whatever
    follows `password:` is masked, and so is every password of the rules wherever it stands in one.
    """
    root = tree.read(rules.text, str(rules.path)).root
    if root is None:
        return ""  # rules that were made without a file
    values = sorted(tree.scalars(root), key=lambda item: item[1].span.start)
    secrets = _passwords(rules)
    parts = []
    position = 0
    for path, span in _pieces(root, values):
        parts.append(_mask_comments(rules.text[position : span.start], secrets))
        written = rules.text[span.start : span.end]
        if path and path[-1] == "password":
            # A folded or literal block ends with its line break, and may be indented deeper than what follows.
            written = MASK + written[len(written.rstrip()) :] if written.rstrip() else written
        parts.append(written)
        position = span.end
    parts.append(_mask_comments(rules.text[position:], secrets))
    return "".join(parts)


def _pieces(root: tree.Mapping, values: list[tuple[tree.Path, tree.Scalar]]) -> list[tuple[tree.Path, tree.Span]]:
    """The spans of all keys (with no path) and values, in order: comments are only between them."""
    pieces = [(path, scalar.span) for path, scalar in values]
    pieces += [((), span) for span in _key_spans(root)]
    return sorted(pieces, key=lambda piece: piece[1].start)


def _key_spans(node: tree.Node) -> list[tree.Span]:
    if isinstance(node, tree.Mapping):
        return [span for entry in node.entries.values() for span in (entry.key.span, *_key_spans(entry.value))]
    if isinstance(node, tree.Sequence):
        return [span for item in node.items for span in _key_spans(item)]
    return []


def _mask_comments(text: str, secrets: list[str]) -> str:
    def mask(comment: re.Match[str]) -> str:
        masked = _IN_COMMENT.sub(lambda found: found[1] + MASK, comment[0])
        for secret in secrets:
            masked = masked.replace(secret, "***")
        return masked

    return _COMMENT.sub(mask, text)


def _passwords(rules: Rules) -> list[str]:
    """The passwords in use, longest first; those so short that they would mask ordinary words are left out."""
    services = [rules.service, *(cluster.service for cluster in rules.clusters.values())]
    passwords = {user.password for user in rules.users.values()} | {one.password for one in services if one}
    return sorted((one for one in passwords if len(one) >= 4), key=len, reverse=True)
