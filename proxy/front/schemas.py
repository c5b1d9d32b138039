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
        wanted = queries(sorted(self.rules.databases) or None)
        catalog = before
        for name, servers in self.clusters.by_name.items():
            cluster = self.rules.clusters.get(name)
            account = (cluster.service if cluster is not None else None) or self.rules.service
            if account is None or not servers.primary.usable:
                continue
            try:
                connection = await servers.primary.connect(
                    account.user, Secret.of_password(account.password.encode()), 0
                )
                try:
                    rows = {what: await connection.query(sql) for what, sql in wanted.items()}
                finally:
                    connection.close()
            except TurnoutError as error:
                log.warning("cannot read schemas", extra={"cluster": name, "error": error.message})
                continue
            catalog = merge(catalog, name, build(name, rows))
        return catalog
