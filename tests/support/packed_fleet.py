"""1,000 simulated devices on three versions of a product, which update to a fourth from packed files."""

from ioto_tools.cloud.operators import release_files
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.fleet.settings import Settings
from ioto_tools.fleet.simulated_time import Clock, Simulation, cloud
from packed_release import store_packed

PRODUCT = "SIMPRODUCT"
VERSIONS = "1.0.0", "1.1.0", "1.2.0", "2.0.0"
DEVICES = {  # (kind of the file that they are offered, version that they run): number of devices
    ("delta", "1.2.0"): 400,
    ("delta", "1.1.0"): 360,
    ("compressed", "1.0.0"): 200,  # the cloud has no delta from this version
    ("whole", "1.2.0"): 40,  # they accept no packed file
}
DAY = 86400


class PackedFleet:
    """The devices and their cloud in `folder`; `images`: those of VERSIONS."""

    def __init__(self, folder, images):
        self.folder, self.images = folder, dict(zip(VERSIONS, images, strict=True))
        self.clock = Clock()
        self.app = cloud(folder / "site", self.clock, public_url="http://cloud.test", rate=0, new_per_hour=0)
        self.site = self.app.state.site
        new_product(self.site, "sim", PRODUCT)
        rows = {version: self._publish(version) for version in VERSIONS}
        self.update = rows["2.0.0"]["id"]
        for base in (b"", self.images["1.1.0"], self.images["1.2.0"]):
            store_packed(self.site, self.update, self.images["2.0.0"], base)

    def _publish(self, version):
        path = self.folder / "image.bin"
        path.write_bytes(self.images[version])
        return publish(self.site, path, "sim", version, said={"age": "none"}, enabled=version == "2.0.0")[0]

    def run(self, seconds=1.1 * DAY):
        """Let all devices of DEVICES update; return {key of DEVICES: Fleet}.

        Most devices do not report, which takes less time: their next check-in shows that they run the release.
        """
        return {key: self._run(key, n, seconds) for key, n in DEVICES.items()}

    def _run(self, key, devices, seconds):
        kind, version = key
        settings = Settings(
            PRODUCT, devices, version, "%s-%s-" % key, download="whole", shares={"crash": 0.05, "mute": 0.9},
            image=None if kind == "whole" else self.images[version],
        )  # fmt: skip
        simulation = Simulation(self.app, self.clock, settings, self.site.database.settle)
        simulation.run(seconds)
        return simulation.fleet

    def files(self):
        """({key of DEVICES: (size of the file, devices that were offered it, that installed it)}, bytes saved)."""
        found = release_files.of_release(self.site, self.update)
        runs = {"compressed": "1.0.0", "whole": "1.2.0"}
        names = "size", "offered", "installed"
        return {
            (each["kind"], runs.get(each["kind"], each["base_version"])): tuple(each[name] for name in names)
            for each in found["files"]
        }, found["saved"]

    def close(self):
        self.site.close()
