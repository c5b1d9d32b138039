"""Every client library against Turnout: what it sees there is what it sees on a MariaDB server of its own.

scenario     what every client does, and what it must see
target       where to connect, and how
dbapi        the scenario for Python's drivers; the other modules, `node/` and `go/` play it in their own ways
clients      the list of clients
programs     node's and Go's clients: installed, built, run
"""
