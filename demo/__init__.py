"""`make demo`: a small shop on real servers, with Turnout in front, each technique shown at work."""
