"""The device cloud: registration, check-ins, reports and images over HTTP, and the operators' tools, API and web page.

Each folder imports only from those before it (tests/test_style.py): http, policy, rules, storage, images, rollout,
devices, operators, releases, site, api, web. `app.py` puts them together.
"""
