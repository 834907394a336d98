"""Check-ins and reports of a Cloud's devices, the operator's view of the devices, and a second worker of the site."""

from cloud_under_test import Cloud
from ioto_tools.cloud.app import create_app
from ioto_tools.cloud.operators import overview
from ioto_tools.cloud.rules import update_states
from ioto_tools.cloud.storage import audit

FORGET = b"Authentication failed"
DAY = 86400


def ask(cloud, id, version="1.0.0", **properties):
    """Check in a device, which is registered first if necessary; return the version that it is offered, or None."""
    tokens = cloud.__dict__.setdefault("tokens", {})
    if id not in tokens:
        tokens[id] = cloud.device(id)
    reply = cloud.check_in(id, tokens[id], version, **properties)
    assert reply.status == 200, reply.body
    return reply.json().get("version")


def send_report(cloud, id, state, attempt=1, reason="", update=None):
    """Send a report about the last update that the device was offered."""
    update = update or overview.device(cloud.site, id)["update"]["update"]
    success = state not in update_states.FAILURES
    assert (
        cloud.report(id, cloud.tokens[id], update, success, state=state, attempt=attempt, reason=reason).body == b"{}"
    )


def state(cloud, id):
    return overview.device(cloud.site, id)["update"]["state"]


def why(cloud, id):
    """{version: why the device is not offered it, or None if it is}."""
    return {each["version"]: each["why"] for each in overview.device(cloud.site, id)["offers"]}


def second_worker(cloud):
    """Another worker of the same site, with its own cache, which may be up to a second old."""
    cloud.__dict__.setdefault("tokens", {})
    other = Cloud.__new__(Cloud)
    other.__dict__.update(cloud.__dict__, moments=[0])
    other.app = create_app(
        cloud.folder / "site",
        "https://updates.test",
        clock=lambda: cloud.now_s,
        random_bytes=cloud.random,
        threads=False,
        rate=0,
    )
    other.app.state.memory._look_s = 1
    other.app.state.memory._clock = lambda: other.moments[0]
    other.site = other.app.state.site
    return other


def audited_subjects(cloud, action):
    return [row["subject"] for row in cloud.site.database.read(audit.newest) if row["action"] == action]


def is_accepted(cloud, token, id="D1"):
    reply = cloud.check_in(id, token, "1.0.0")
    assert reply.status == 200 or reply.body == FORGET, reply.body
    return reply.status == 200
