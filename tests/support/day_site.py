"""Fills a site for the day of an operator: products with running and silent devices, failures and an old release.

Each product has, under ids that begin with its name, the devices GROUPS. It has these releases: 0.9.0, which no device
uses; 1.1.0 for region eu, with failures for two reasons; 2.0.0 for region asia, which has only begun.
"""

import time

from cloud_under_test import Cloud, esp_image
from ioto_tools.cloud.operators import control
from ioto_tools.cloud.releases.publish import new_product
from ioto_tools.cloud.rollout import fleet_samples

DAYS = 3  # between the first check-ins and now
# {region: number of devices}. `new`: waiting to be claimed; `gone`: silent.
GROUPS = {"eu": 8, "us": 6, "asia": 2, "lab": 10, "new": 20, "gone": 3}
TRACE = 'Traceback (most recent call last):\n  File "main.py", line 31, in self_test\nValueError: no sensor'
DETAILS = {"reset": "soft", "trace": TRACE, "log": "reading the sensor\nno answer"}


class Fleet:
    """The devices of one product of `cloud`."""

    def __init__(self, cloud, name):
        self.cloud, self.name, self.product = cloud, name, name.upper() * 2
        new_product(cloud.site, name, self.product)
        self.tokens = {id: self.register(id) for group in GROUPS for id in self.ids(group)}

    def ids(self, group):
        return ["%s-%s-%02d" % (self.name, group, n) for n in range(GROUPS[group])]

    def register(self, id):
        return self.cloud.register(id, self.product).json()["token"]

    def check_in(self, group, version="1.0.0"):
        """Check in the devices of a group; return {id: the version that it is offered, or None}."""
        return {id: self._ask(id, group, version).get("version") for id in self.ids(group)}

    def _ask(self, id, group, version="1.0.0"):
        fields = {"product": self.product, "region": group, "building": "%s-%s" % (self.name, group)}
        reply = self.cloud.check_in(id, self.tokens[id], version, **fields)
        assert reply.status == 200, reply.body
        return reply.json()

    def report(self, id, update, state, **fields):
        success = state == "confirmed"
        reply = self.cloud.report(id, self.tokens[id], update, success, attempt=1, state=state, **fields)
        assert reply.body == b"{}"

    def update(self):
        """Publish 1.1.0 and let the devices of region eu try it: three fail the self-test, two can't read the image."""
        update = self.publish("1.1.0", "eu")
        assert set(self.check_in("eu").values()) == {"1.1.0"}
        ids = self.ids("eu")
        for id in ids[:3]:
            self.report(id, update, "rolled_back", reason="selftest_failed", details=DETAILS)
        for id in ids[3:5]:
            self.report(id, update, "failed", reason="checksum_mismatch")
        for id in ids[5:]:
            self.report(id, update, "confirmed")
            self._ask(id, "eu", "1.1.0")

    def publish(self, version, region, **said):
        policy = "device.version < update.version && device.region == '%s'" % region
        image = esp_image(("%s %s" % (self.name, version)).encode())
        return self.cloud.publish(version, image, product=self.name, policy=policy, **said)["id"]


def fill(folder, names):
    """Make the site in folder/site; return (its Cloud, {name of a product: its Fleet})."""
    cloud = Cloud(folder)
    cloud.app.state.memory._look_s = 0  # the server of the test changes the site; a check-in sees each change at once
    cloud.now_s = int(time.time()) - DAYS * 24 * 3600
    fleets = {name: Fleet(cloud, name) for name in names}
    for fleet in fleets.values():
        fleet.publish("0.9.0", "eu", enabled=False)
        for group in GROUPS:
            fleet.check_in(group)
    fleet_samples.take_due(cloud.site)
    cloud.now_s = int(time.time())
    for fleet in fleets.values():
        for group in ("us", "lab", "new"):
            fleet.check_in(group)
        fleet.update()
        fleet.publish("2.0.0", "asia")
        fleet.check_in("asia")
        for id in fleet.ids("new"):
            control.unclaim(cloud.site, id, fleet.product)
    fleet_samples.take_due(cloud.site)
    return cloud, fleets
