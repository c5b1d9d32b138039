"""Statements at random over the whole grammar, through Turnout with four shards and on one server with all the rows.

`schema` has the tables, `expressions`, `selects` and `writes` make statements, `world` runs and compares them, `run`
is a whole run with its counts. By hand: `python -m tests.differential --statements 100000`.

A statement is made so that its answer is certain, but for the order of its rows where it does not say one: no LIMIT
without a whole order, no aggregate that shows one of several equal strings, floating point in quarters only, whose sums
are exact.
"""
