"""Reading the schemas of the databases that the rules name, from every cluster, into one catalog."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from proxy.back.catalog import Catalog
from proxy.back.catalog_loader import build, merge, queries
from proxy.back.clusters import Clusters
from proxy.errors import TurnoutError
from proxy.rules.model import Rules
from proxy.wire.login import Secret

log = logging.getLogger("turnout.schemas")


@dataclass(frozen=True, slots=True)
class SchemaReader:
    """Reads with the service account of each cluster, from its primary."""

    rules: Rules
    clusters: Clusters

    async def read(self, before: Catalog) -> Catalog:
        """The catalog as it is now. A cluster that cannot be asked keeps what was known of it `before`."""
        databases = list(self.rules.databases)
        if not databases:
            return before
        raise NotImplementedError
