"""Pools as servers have them: there as long as somebody refers to them. A class of its own, which stays Python's where
`proxy.back.pool` is compiled: what mypyc makes cannot be referred to weakly."""

from __future__ import annotations

from proxy.back.pool import Pool


class HeldPool(Pool):
    __slots__ = ("__weakref__",)
