"""A cloud with simulated devices that check in one after the other, in simulated time, and finish an update at once."""

import json
import random

import population
from ioto_tools.cloud.devices.worker_cache import REFRESH_S
from ioto_tools.cloud.operators import overview
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.cloud.rules import update_states
from ioto_tools.fleet.simulated_time import Clock, InProcessClient, cloud
from ioto_tools.image import esp

PRODUCT = "STAGEDFLEET"
LIKE = "BENCHLIKE"


class StagedFleet:
    """`count` devices of one product, and their cloud in `folder`."""

    def __init__(self, folder, count, seed=1):
        self.folder, self.count = folder, count
        self.clock = Clock()
        self.app = cloud(folder / "site", self.clock, public_url="http://cloud.test", rate=0, new_per_hour=0)
        self.site = self.app.state.site
        self.client = InProcessClient(self.app)
        self.random = random.Random(seed)
        self.versions = ["1.0.0"] * count
        self.failed = set()  # devices on which an update failed
        new_product(self.site, "sim", PRODUCT)
        self.post("/device/register", PRODUCT, {"id": LIKE})
        population.fill(self.site, LIKE, 0, count)

    def post(self, path, token, fields):
        reply = self.client.post(path, token, fields)
        assert reply.status == 200, reply.body
        return json.loads(reply.body)

    def publish(self, version, **said):
        path = self.folder / "image.bin"
        path.write_bytes(esp.make_image(1024, version))
        return publish(self.site, path, "sim", version, said={"age": "none", **said})[0]["id"]

    def members(self, update, percentage):
        """The devices that a stage with this percentage includes."""
        return {
            n for n in range(self.count) if update_states.rollout_position(update, population.id_of(n)) < percentage
        }

    def run(self, seconds, failing=0.0):
        """Each device checks in once within `seconds`; return the devices that got an offer.

        The share `failing` of the offered updates fails.
        """
        self.clock.now_s += REFRESH_S + 1  # the cloud notices a new release within a second
        offered, begun_s = set(), self.clock.now_s
        for n in range(self.count):
            self.clock.now_s = begun_s + seconds * (n + 1) / self.count
            id, token = population.id_of(n), population.token_of(n)
            fields = {"id": id, "product": PRODUCT, "version": self.versions[n], "next": int(seconds)}
            offer = self.post("/tok/provision/update", token, fields)
            if "update" in offer:
                offered.add(n)
                self._finish(n, id, token, offer, self.random.random() >= failing)
        self.site.database.settle()
        return offered

    def _finish(self, n, id, token, offer, is_good):
        if is_good:
            self.versions[n] = offer["version"]
        else:
            self.failed.add(n)
        state = "confirmed" if is_good else "failed"
        fields = {"id": id, "update": offer["update"], "success": is_good, "state": state, "attempt": 3}
        self.post("/tok/provision/updateReport", token, fields)

    def shown(self, update):
        return overview.update(self.site, update)

    def close(self):
        self.site.close()
