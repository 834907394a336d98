"""Fixtures for tests of the device cloud: a cloud that the test controls, the command line, a real server."""

import signal
import subprocess

import pytest
from cloud_under_test import COMMAND, ENV, Cloud
from ioto_tools.cloud.site.site import Site
from postgresql_server import PostgresqlServer
from s3_server import S3Server
from site_kinds import InFolder, OnServers
from webhook_listener import Listener


def pytest_generate_tests(metafunc):
    """Run each test that uses a site with both kinds of site: in a folder, and on servers.

    With a site on servers, tests run only in `make sweep`, except in modules that set BOTH.
    """
    if "kind" in metafunc.fixturenames:
        marks = () if getattr(metafunc.module, "BOTH", False) else pytest.mark.sweep
        kinds = ["folder", pytest.param("servers", marks=marks)]
        if metafunc.definition.get_closest_marker("only_in_folder"):
            kinds.pop()
        metafunc.parametrize("kind", kinds, indirect=True)


@pytest.fixture(scope="session")
def postgresql():
    server = PostgresqlServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def s3():
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def kind(request):
    if request.param == "folder":
        return InFolder()
    links = request.node.get_closest_marker("own_links") is None
    return OnServers(request.getfixturevalue("postgresql"), request.getfixturevalue("s3"), links)


@pytest.fixture
def make_site(kind):
    """make_site(folder, ...) returns the Site in the folder, and creates it with its settings if necessary."""
    return MakeSite(kind)


class MakeSite:
    def __init__(self, kind):
        self._kind = kind

    def settings(self, folder):
        """Create the folder of a site, with nothing but the settings in it."""
        folder.mkdir()
        (folder / "site.toml").write_text(self._kind.settings())

    def __call__(self, folder, **options):
        if not folder.exists():
            self.settings(folder)
        return Site(folder, make=True, **options)


@pytest.fixture
def cloud(tmp_path, kind):
    made = Cloud(tmp_path, kind)
    yield made
    made.close()


@pytest.fixture
def ioto(tmp_path):
    """ioto("devices", "--json") runs the command in the test's folder."""

    def run(*arguments, ok=True):
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)], cwd=tmp_path, env=ENV, capture_output=True, text=True, timeout=60
        )
        if ok:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def serve(tmp_path):
    """serve(*options) starts `ioto cloud serve` in the test's folder, and returns (process, address).

    `packing`: the server makes packed files.
    """
    started = []

    def start(*options, packing=False):
        process = subprocess.Popen(
            [*COMMAND, "cloud", "serve", "--port", "0", *options, *([] if packing else ["--no-packing"])],
            cwd=tmp_path,
            env=ENV,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, process.stdout.readline().split()[3].rstrip(",")

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(20)
        process.stdout.close()


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.hold.set()
    made.shutdown()
    made.server_close()
