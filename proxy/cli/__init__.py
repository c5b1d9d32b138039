"""The command line, and the processes that `turnout serve` is made of."""
