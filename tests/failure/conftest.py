"""A Turnout that must not make a mistake of its own, whatever happens around it."""

from tests.front.conftest import turnout

__all__ = ["turnout"]
