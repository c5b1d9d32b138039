"""Fuzzing of whole sessions: clients and servers that nobody can rely on, around the real front and back of a worker.

campaign     inputs by seed and number, played for a while or once: of these fuzzers and of tests.wire.fuzz_wire
virtual      an event loop in which time passes as soon as there is nothing else to do, and its connections
fake_cluster what the connections of one server have in common: XA branches, decisions, what was committed
fake_server  answers like a server, late, with errors, with lies, or not at all
fake_client  logs in and sends commands, ahead, in pieces, wrong; checks every answer that it can check
answers      how clients read answers, without Turnout's own code
transfers    transactions whose writes are looked for afterwards: all of them, or none
sessions     what is played, and what has to hold:  python -m tests.fuzz.sessions --seconds 3600

`tests.wire.fuzz_wire` does the same to the code that reads packets, one function at a time.
"""
