"""Operators' views of releases, devices, groups and webhooks, and changes to them; metrics; operator tokens."""
