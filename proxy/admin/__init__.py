"""What operators look at: metrics, the status page, and the tables of SHOW TURNOUT."""
