"""Fixtures: a simulated fleet with its own cloud, in simulated time."""

import hashlib
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.fleet.settings import Settings
from ioto_tools.fleet.simulated_time import Clock, Simulation, cloud
from ioto_tools.image import esp

PRODUCT = "SIMPRODUCT"


class World:
    """A cloud in `folder`, and a fleet after start_fleet()."""

    def __init__(self, folder):
        self.folder = folder
        self.clock = Clock()
        self.drawn = 0
        self.app = cloud(folder / "site", self.clock, public_url="http://cloud.test", random_bytes=self.random)
        self.site = self.app.state.site
        new_product(self.site, "sim", PRODUCT)

    def random(self, n):
        self.drawn += 1
        return hashlib.shake_128(b"%d" % self.drawn).digest(n)

    def start_fleet(self, app=None, **settings):
        """Make the fleet. If `app` is given, it receives the fleet's requests instead of the cloud's application."""
        self.settings = Settings(PRODUCT, **settings)
        self.simulation = Simulation(app or self.app, self.clock, self.settings, self.site.database.settle)
        self.fleet = self.simulation.fleet
        return self.fleet

    def publish(self, version, **options):
        path = self.folder / "image.bin"
        path.write_bytes(esp.make_image(4096, version))
        options["said"] = {"age": "none", **options.get("said", {})}  # all devices here are new
        return publish(self.site, path, "sim", version, **options)[0]

    def close(self):
        self.site.close()


@pytest.fixture
def memory_path():
    """A folder, in memory if possible: the disk is not under test."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
def worlds(memory_path):
    """worlds() makes a World."""
    made = []

    def more():
        inside = memory_path / str(len(made))
        inside.mkdir()
        made.append(World(inside))
        return made[-1]

    yield more
    for each in made:
        each.close()


@pytest.fixture
def world(worlds):
    return worlds()
