"""Deciding where statements go: plans, made from statements, rules and catalog without any I/O."""
