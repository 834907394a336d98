"""The device cloud: registration, check-ins, reports and images over HTTP, and the operators' API and web page.

Each folder imports only from those before it (the contracts in pyproject.toml): http, hosting, policy, rules, storage,
images, rollout, devices, operators, releases, site, api, web. `app.py` puts them together.
"""
