"""A checker of what the coherent cache promises (docs/CACHE.md): concurrent writers and readers, faults, and a ledger.

Ledger: what was written to each key, as numbered versions, and which of them were acknowledged, when, and by which way.
Reader: reads in flight by the dozen on raw connections; each answer is held against the ledger.
Writer: one kind of change (UPDATE, transaction, cascade, TRUNCATE, ..), through the proxy or past it, again and again.
Fault: something that goes wrong: memcached, the stream process, a worker, the server, its binary logs.

`python -m tests.cache.coherence --reads 10000000` runs it by hand.
"""
