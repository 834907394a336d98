"""Compiles the agent and deploys firmware, agent and files to a board."""
