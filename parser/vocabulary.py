"""Sets of words, written as text."""


def vocabulary(words: str) -> frozenset[str]:
    """The words of a text, which white space separates."""
    return frozenset(words.split())
