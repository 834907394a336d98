"""The stand-ins for other clients are as strict as docs/protocol.md says.

Each answer of the cloud is corrupted in turn, and the clients that depend on it give up.
"""

import json

import other_clients
import pytest
from cloud_under_test import call, esp_image
from other_clients import Complaint, IotoAgent

URL = "https://updates.test"
C, NODE, SHELL = UPDATERS = (other_clients.c_updater, other_clients.node_updater, other_clients.shell_updater)
CHECK_IN, IMAGE = "/tok/provision/update", "/image/"


def without(field):
    return lambda status, headers, body: (
        status,
        headers,
        compact({k: v for k, v in json.loads(body).items() if k != field}),
    )


def of_length(value):
    return lambda status, headers, body: (
        status,
        {**{k: v for k, v in headers.items() if k != "Content-Length"}, **value},
        body,
    )


def without_https(status, headers, body):
    return status, headers, body.replace(b"https://", b"http://")


def lower_case_headers(status, headers, body):
    return status, {name.lower(): value for name, value in headers.items()}, body


def json_with_spaces(status, headers, body):
    return status, headers, json.dumps(json.loads(body)).encode()


def status_500(status, headers, body):
    return 500, headers, body


def changed_image(status, headers, body):
    return status, headers, body[:-1] + b"?"


def compact(found):
    return json.dumps(found, separators=(",", ":")).encode()


# (corruption, path, clients that give up)
CORRUPTIONS = (
    (without_https, CHECK_IN, UPDATERS),
    (status_500, CHECK_IN, UPDATERS),
    (status_500, IMAGE, UPDATERS),
    (lower_case_headers, IMAGE, (C,)),
    (lower_case_headers, CHECK_IN, (C,)),
    (json_with_spaces, CHECK_IN, (C,)),
    (of_length({}), IMAGE, UPDATERS),
    (of_length({}), CHECK_IN, (C,)),
    (of_length({"Content-Length": str(100 * 1024 * 1024 + 1)}), IMAGE, UPDATERS),
    (changed_image, IMAGE, (NODE,)),
    *((without(field), CHECK_IN, UPDATERS) for field in ("checksum", "update", "version")),
)


def corrupted(cloud, corrupt, corrupt_path):
    """A function that other_clients.py takes as `cloud`: it corrupts the answers of the real cloud on one path."""

    def request(method, url, headers, body):
        path, _, query = url[len(URL) :].partition("?")
        reply = call(cloud.app, method, path + (query and "?" + query), headers, body)
        found = reply.status, {name.title(): value for name, value in reply.headers.items()}, reply.body
        if path.startswith(corrupt_path) and not path.endswith("Report"):
            status, lines, body = corrupt(*found)
            if corrupt_path == CHECK_IN and "Content-Length" in lines:
                lines["Content-Length"] = str(len(body))
            found = status, lines, body
        return found[0], list(found[1].items()), found[2]

    return request


@pytest.mark.sweep
@pytest.mark.own_links
def test_updaters_give_up_at_corrupt_answers(cloud):
    image = esp_image(b"new", 5000)
    cloud.publish("2.0.0", image)
    for number, (corrupt, path, strict) in enumerate(CORRUPTIONS):
        for updater in UPDATERS:
            # A new device each time: a device that has finished an update is not offered it again at once.
            id = "%d-%s" % (number, updater.__name__)
            request, token = corrupted(cloud, corrupt, path), cloud.device(id)
            if updater in strict:
                with pytest.raises(Complaint):
                    updater(request, URL, "PRODUCT7", token, id, "1.0.0")
            else:
                assert len(updater(request, URL, "PRODUCT7", token, id, "1.0.0")) == len(image), (
                    corrupt,
                    path,
                    updater,
                )
    with pytest.raises(Complaint, match="207"):
        C(corrupted(cloud, lower_case_headers, "nowhere"), URL, "PRODUCT7", "T" * 207, "D1", "1.0.0")


def test_the_ioto_agent_gives_up_at_corrupt_answers(cloud):
    device = {"id": "D1", "product": "PRODUCT7"}
    cloud.publish("2.0.0")

    def agent(corrupt, path):
        return IotoAgent(corrupted(cloud, corrupt, path), URL, "PRODUCT7", device)

    for corrupt in (
        status_500,
        lambda s, h, b: (s, h, b"{}"),
        lambda s, h, b: (s, h, b"[1,2]"),
        lambda s, h, b: (s, h, b'{"api":"x"}'),
    ):
        with pytest.raises(Complaint, match="register"):
            agent(corrupt, "/device/register").update("1.0.0")
    with pytest.raises(Complaint, match="207"):
        agent(lambda s, h, b: (s, h, compact({**json.loads(b), "token": "T" * 207})), "/device/register").update(
            "1.0.0"
        )
    forgets = {
        b"Authentication failed": True,
        b"Cannot find device": True,
        b'{"error":"Authentication failed"}': False,
        b"other": False,
    }
    for number, (text, forgotten) in enumerate(forgets.items()):
        device["id"] = "D%d" % number
        found = agent(lambda s, h, b: (401, h, text), CHECK_IN)
        if forgotten:
            assert found.update("1.0.0") is None and found.provision == {}
        else:
            with pytest.raises(Complaint, match="401"):
                found.update("1.0.0")
            assert found.provision
