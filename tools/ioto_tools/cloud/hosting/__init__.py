"""Configurations of the programs around the server: nginx in front of it, systemd that runs it."""
