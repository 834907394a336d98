"""EmbedThis' updaters and Ioto's C agent, as strict stand-ins, against `ioto cloud serve` over TLS.

The tests run behind the real nginx and without it. The release has a packed file, which none of these clients can use.
"""

import re
import socket
import ssl
import time
from urllib.parse import urlsplit

import other_clients
import pytest
from cloud_under_test import esp_image
from ioto_tools.cloud.devices import registration
from ioto_tools.cloud.operators import control, overview, release_files
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.cloud.site import certificates
from nginx_server import Nginx, needed
from other_clients import Complaint, IotoAgent
from packed_release import store_packed

PUBLIC = "https://updates.test"
UPDATERS = (other_clients.c_updater, other_clients.node_updater, other_clients.shell_updater)


@pytest.fixture
def site(make_site, tmp_path):
    made = make_site(tmp_path / "site")
    new_product(made, "thermo", "P7")
    (tmp_path / "new.bin").write_bytes(esp_image(b"new", 70000))
    image = (tmp_path / "new.bin").read_bytes()
    update = publish(made, tmp_path / "new.bin", "thermo", "2.0.0")[0]["id"]
    store_packed(made, update, image)
    yield made
    files = {each["kind"]: each["offered"] for each in release_files.of_release(made, update)["files"]}
    assert files["whole"] > 0 and files["compressed"] == 0
    made.close()


@pytest.mark.sweep
@needed
@pytest.mark.own_links
def test_other_clients_behind_nginx(serve, site, tmp_path):
    """One server for all clients, because starting it takes longer than the rest."""
    image = (tmp_path / "new.bin").read_bytes()
    _, address = serve("--data", "site", "--public-url", PUBLIC)
    with Nginx(tmp_path / "nginx", address, tmp_path / "site") as nginx:
        for number, updater in enumerate(UPDATERS):
            check_updater(updater, nginx.request, site, "U%d" % number, image)
        check_ioto_agent(nginx.request, site, image)
        check_ioto_agent_with_mqtt(nginx.request, image)
        assert nginx.errors() == ""


@pytest.mark.own_links
def test_other_clients_without_nginx(serve, site, tmp_path):
    """The same clients connect directly to `ioto cloud serve`, with raw sockets over TLS."""
    certificates.make(tmp_path / "tls", ["127.0.0.1"])
    tls = tmp_path / "tls"
    _, address = serve(
        "--data",
        "site",
        "--certificate",
        str(tls / "server.pem"),
        "--key",
        str(tls / "server.key"),
        "--public-url",
        PUBLIC,
    )
    cloud = RawClient(address, ssl.create_default_context(cafile=tls / "ca.pem"))
    image = (tmp_path / "new.bin").read_bytes()
    for number, updater in enumerate(UPDATERS):
        check_updater(updater, cloud, site, "U%d" % number, image)
    check_ioto_agent_with_mqtt(cloud, image)


class RawClient:
    """A client that sends no `Connection: close`, and reads an image until the connection is closed."""

    def __init__(self, address, context):
        self.port = urlsplit(address).port
        self.context = context

    def __call__(self, method, url, headers, body):
        parts = urlsplit(url)
        target = parts.path + ("?" + parts.query if parts.query else "")
        lines = {"Host": parts.netloc, **headers, "Content-Length": str(len(body))}
        head = "%s %s HTTP/1.1\r\n%s\r\n" % (method, target, "".join("%s: %s\r\n" % line for line in lines.items()))
        with (
            socket.create_connection(("127.0.0.1", self.port), 10) as raw,
            self.context.wrap_socket(raw, server_hostname="127.0.0.1") as s,
        ):
            s.sendall(head.encode() + body)
            reply = b""
            while piece := s.recv(65536):
                reply += piece
                head, end, body = reply.partition(b"\r\n\r\n")
                if method == "POST" and end and len(body) == int(re.search(rb"Content-Length: (\d+)", head)[1]):
                    break
        status, *lines = head.decode().split("\r\n")
        return int(status.split()[1]), [tuple(line.split(": ", 1)) for line in lines], body


def check_ioto_agent_with_mqtt(cloud, image):
    """The agent requests a certificate, and finds the Builder at Ioto's default path; an extra slash does no harm."""
    for number, builder in enumerate((PUBLIC + "/api", PUBLIC + "/api/", PUBLIC + "/", PUBLIC)):
        agent = IotoAgent(cloud, builder, "P7", {"id": "MQTT%d" % number, "product": "P7"}, mqtt=True)
        assert agent.update("1.0.0") == image, builder


def eventually(holds):
    """Wait until holds() is true; return its last result.

    Once a second, a running server reads the changes made by other processes, and writes deferred data.
    """
    give_up = time.monotonic() + 20
    while not (held := holds()) and time.monotonic() < give_up:
        time.sleep(0.1)
    return held


def check_updater(updater, cloud, site, device, image):
    token = registration.register(site, "P7", {"id": device}, "")["token"]
    properties = {"pro": "true", "memory": "256", "accepts": "packed", "slotSize": "2031616", "chip": "0"}
    assert updater(cloud, PUBLIC, "P7", token, device, "1.0.0", properties) == image, updater
    assert updater(cloud, PUBLIC, "P7", token, device, "2.0.0", properties) is None, updater
    assert eventually(lambda: overview.device(site, device)["properties"].get("pro") == "true")
    assert updater(cloud, PUBLIC, "P7", token, device, "not-semver") is None, updater
    with pytest.raises(Complaint, match="401"):
        updater(cloud, PUBLIC, "P7", "wrong", device, "1.0.0")
    known = overview.device(site, device)
    assert [(r["state"], r["attempt"], r["times"]) for r in known["reports"]] == [("confirmed", 1, 1)], updater
    if updater is other_clients.c_updater:
        token = registration.register(site, "P7", {"id": "COMMA"}, "")["token"]
        assert updater(cloud, PUBLIC, "P7", token, "COMMA", "1.0.0", comma=True) == image


def check_ioto_agent(cloud, site, image):
    agent = IotoAgent(cloud, PUBLIC, "P7", {"id": "IOTO1", "product": "P7", "pro": True, "memory": 256})
    assert agent.update("1.0.0") == image and agent.update("2.0.0") is None
    control.remove(site, "IOTO1")
    assert eventually(
        lambda: agent.update("2.0.0") is None and agent.provision == {}
    )  # refused: the agent has deleted its registration
    assert agent.update("2.0.0") is None and agent.provision["token"]
    control.revoke(site, "IOTO1")
    control.claim(site, "IOTO1")
    assert eventually(lambda: agent.update("2.0.0") is None and agent.provision == {})
    assert agent.update("2.0.0") is None and agent.provision["token"]
    assert overview.device(site, "IOTO1")["update"]["state"] == "confirmed"  # although the agent never sends reports
    with pytest.raises(Complaint, match="409|has a token"):  # an attacker who has read the product id from a board
        IotoAgent(cloud, PUBLIC, "P7", {"id": "IOTO1"}).update("1.0.0")
    assert agent.update("2.0.0") is None
    with pytest.raises(Complaint, match="register"):
        IotoAgent(cloud, PUBLIC, "NOPE", {"id": "IOTO2"}).update("1.0.0")
