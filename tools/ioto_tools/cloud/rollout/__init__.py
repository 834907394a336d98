"""Rollouts: the devices that are offered a release, its quotas, its progress, and what stops it."""
