"""Devices that report failures to the cloud of a test, and the cause by which the cloud groups these."""

TRACE = 'Traceback (most recent call last):\n  File "main.py", line %d, in <module>\nValueError: no sensor %d'
WRONG = {"reset": "soft", "trace": TRACE % (3, 17), "log": "12 I start\n13 E no sensor"}
CAUSE = "ValueError: no sensor #, main.py:3"


def offered(cloud, id="D1"):
    """Offer the newest update to a new device; return (token, update)."""
    token = cloud.device(id)
    return token, cloud.check_in(id, token, "1.0.0").json()["update"]


def fail(cloud, id, token, update, state="rolled_back", attempt=1, reason="selftest_failed", details=WRONG):
    """Send a report with `details`, which must be accepted."""
    said = {"state": state, "attempt": attempt, "reason": reason, "details": details}
    reply = cloud.report(id, token, update, False, **said)
    assert (reply.status, reply.body) == (200, b"{}")
