"""Rollouts: which devices were offered a release, its quotas, its progress, and what stops it."""
