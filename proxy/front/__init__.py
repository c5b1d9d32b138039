"""Clients: listener, login, sessions, and how their statements are carried out."""
