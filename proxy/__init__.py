"""Turnout: a MySQL-protocol proxy that sends each table's statements where its rule says.

Glossary (one word for one thing, everywhere):

cluster     one primary server and its replicas
home        the cluster where a database's tables live unless a rule says otherwise
target      a cluster and a role (primary, or any replica fit for the read)
shape       a statement without its literals; the key of the plan cache and of the measurements
plan        what happens to one shape; a *route* is a plan with the values of one statement filled in
session     one client's connection to us, with its settings, transaction and prepared statements
connection  one of our connections to a server; it belongs to a pool except while a session holds it
holding     a session keeps a connection because of a transaction; it is *pinned* when other state keeps it there
settings    system variables (and constant user variables) that a session carries from connection to connection
prelude     commands sent before a statement so that a connection has the session's settings and transaction
"""

from parser.from_source import begin

begin()
