"""Operators' views and changes of releases, devices, groups and webhooks; metrics; operator tokens."""
