"""The device cloud: registration, check-ins, reports and images over HTTP, and what operators see and change.

A folder is a room; each imports those before it only (tests/test_style.py): http, policy, rules, storage, images, rollout, devices,
operators, releases, site, api, web. `app.py` puts them together.
"""
