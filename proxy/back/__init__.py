"""Servers: connections, pools, health, and what is known of their schemas."""
