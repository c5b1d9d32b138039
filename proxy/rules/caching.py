"""Cache classes of tables, and where their values are kept."""

from __future__ import annotations

import re

from proxy.rules.form import CacheClassForm, FileForm, TableForm
from proxy.rules.model import Cache, CacheClass
from proxy.rules.report import Report
from proxy.rules.tree import Path

_COLUMN = re.compile(r"[^\x00`.,()\s]{1,64}")
_LEAST_LOCAL = 1 << 20


def read_classes(report: Report, table: Path, form: TableForm) -> tuple[CacheClass, ...]:
    """The cache classes of one table's entry."""
    if form.cache is None:
        return ()
    path = (*table, "cache")
    if form.everywhere:
        message = "means little on a table that is `everywhere`: it is read from the cluster that the statement goes to"
        report.add(path, message, "Take one of the two out.", at_key=True)
    several = isinstance(form.cache, list)
    forms: list[CacheClassForm] = form.cache if isinstance(form.cache, list) else [form.cache]
    classes: list[CacheClass] = []
    for index, one in enumerate(forms):
        where: Path = (*path, index) if several else path
        by = tuple(column.lower() for column in one.by)
        for place, column in enumerate(one.by):
            if not _COLUMN.fullmatch(column):
                report.add((*where, "by", place), f"`{column}` is not the name of one column")
            elif column.lower() in by[:place]:
                report.add((*where, "by", place), f"`{column}` is there twice", "Keep one of them.")
        if any(sorted(by) == sorted(other.by) for other in classes):
            report.add((*where, "by"), "is the class before it again", "Keep one of them.")
        classes.append(CacheClass(by, one.ttl))
    return tuple(classes)


def read_cache(report: Report, form: FileForm) -> Cache:
    """The section `cache`."""
    if form.cache is None:
        return Cache()
    cache = form.cache
    if cache.local < _LEAST_LOCAL:
        report.add(("cache", "local"), "is too little to be of use", "Write at least `1MB`.")
    seen: set[str] = set()
    for index, address in enumerate(cache.memcached):
        if str(address) in seen:
            report.add(("cache", "memcached", index), f"{address} is there twice", "Keep one of them.")
        seen.add(str(address))
    return Cache(tuple(cache.memcached), cache.local, cache.max_staleness, cache.max_value, cache.verify)
