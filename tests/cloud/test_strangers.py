"""EmbedThis' updaters and Ioto's C agent, as strict stand-ins, against `ioto cloud serve` behind a TLS proxy's URL."""

import http.client
from urllib.parse import urlsplit

import pytest
import strangers
from cloud_under_test import esp_image
from ioto_tools.cloud import fleet, provision
from ioto_tools.cloud.publish import new_product, publish
from ioto_tools.cloud.site import Site
from strangers import Complaint, IotoAgent

PUBLIC = "https://updates.test"
UPDATERS = (strangers.c_updater, strangers.node_updater, strangers.shell_updater)


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path / "site", make=True)
    new_product(made, "thermo", "P7")
    (tmp_path / "new.bin").write_bytes(esp_image(b"new", 70000))
    publish(made, tmp_path / "new.bin", "thermo", "2.0.0")
    yield made
    made.close()


@pytest.fixture
def proxied(site, serve):
    """(method, url, headers, body) -> (status, headers, body): what stands for the TLS proxy of https://updates.test."""
    _, address = serve("--data", "site", "--public-url", PUBLIC)

    def cloud(method, url, headers, body):
        assert url.startswith(PUBLIC + "/"), url
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
        connection.request(method, url[len(PUBLIC) :], body, {"Host": "updates.test", **headers})
        reply = connection.getresponse()
        found = reply.status, reply.getheaders(), reply.read()
        connection.close()
        return found

    return cloud


def test_strangers(proxied, site, tmp_path):
    """One server for all of them: starting one takes longer than the rest."""
    image = (tmp_path / "new.bin").read_bytes()
    for number, updater in enumerate(UPDATERS):
        an_updater(updater, proxied, site, "U%d" % number, image)
    an_ioto_agent(proxied, site, image)


def an_updater(updater, cloud, site, device, image):
    token = provision.register(site, "P7", {"id": device}, "")["token"]
    properties = {"pro": "true", "memory": "256"}
    assert updater(cloud, PUBLIC, "P7", token, device, "1.0.0", properties) == image, updater
    assert updater(cloud, PUBLIC, "P7", token, device, "2.0.0", properties) is None, updater
    assert fleet.device(site, device)["properties"]["pro"] == "true"
    assert updater(cloud, PUBLIC, "P7", token, device, "not-semver") is None, updater
    with pytest.raises(Complaint, match="401"):
        updater(cloud, PUBLIC, "P7", "wrong", device, "1.0.0")
    known = fleet.device(site, device)
    assert [(r["state"], r["attempt"], r["times"]) for r in known["reports"]] == [("confirmed", 0, 1)], updater
    if updater is strangers.c_updater:
        assert updater(cloud, PUBLIC, "P7", token, device, "1.0.0", comma=True) == image


def an_ioto_agent(cloud, site, image):
    agent = IotoAgent(cloud, PUBLIC, "P7", {"id": "IOTO1", "product": "P7", "pro": True, "memory": 256})
    assert agent.update("1.0.0") == image and agent.update("2.0.0") is None
    fleet.remove(site, "IOTO1")
    assert agent.update("1.0.0") is None and agent.provision == {}  # told so, forgot itself
    assert agent.update("1.0.0") == image
    agent.provision["token"] = "stale"
    assert agent.update("1.0.0") is None and agent.provision == {}
    assert agent.update("1.0.0") == image
    with pytest.raises(Complaint, match="register"):
        IotoAgent(cloud, PUBLIC, "NOPE", {"id": "IOTO2"}).update("1.0.0")
