"""The stand-in for EmbedThis' cloud serves other clients, and refuses everything that the protocol does not promise."""

import json

import other_clients
from cloud_under_test import call
from embedthis import EmbedThis
from other_clients import IotoAgent

IMAGE = bytes(range(256)) * 10


def cloud_function(app):
    """A function that other_clients.py takes as `cloud`: it sends the requests to the stand-in."""

    def request(method, url, headers, body):
        host, _, path = url.partition("//")[2].partition("/")
        lines = {**headers, "Host": host, **({"Content-Length": str(len(body))} if method == "POST" else {})}
        reply = call(app, method, "/" + path.partition("?")[0], lines, body)
        return reply.status, [(name.title(), value) for name, value in reply.headers.items()], reply.body

    return request


def test_it_serves_other_clients_without_objection():
    cloud = EmbedThis("P7")
    update = cloud.release("2.0.0", IMAGE)
    agent = IotoAgent(cloud_function(cloud), cloud.builder, "P7", {"id": "D1", "product": "P7", "pro": True})
    assert agent.update("1.0.0") == IMAGE and agent.update("2.0.0") is None
    cloud.revoke("D1")
    assert agent.update("1.0.0") is None and agent.update("1.0.0") == IMAGE
    cloud.remove("D1")
    assert agent.update("1.0.0") is None and agent.update("1.0.0") == IMAGE
    for updater in (other_clients.c_updater, other_clients.node_updater):
        assert updater(cloud_function(cloud), cloud.api, "P7", cloud.devices["D1"]["token"], "D1", "1.0.0") == IMAGE
    assert cloud.objections == []
    assert cloud.reports == [{"success": True, "id": "D1", "update": update}] * 2


def test_its_replies_contain_only_fields_of_the_protocol():
    cloud = EmbedThis("P7")
    cloud.release("2.0.0", IMAGE)
    IotoAgent(cloud_function(cloud), cloud.builder, "P7", {"id": "D1", "product": "P7"}).register()
    token = cloud.devices["D1"]["token"]
    body = json.dumps({"id": "D1", "product": "P7", "version": "1.0.0"}).encode()
    headers = {"Authorization": token, "Content-Type": "application/json"}
    status, _, reply = cloud_function(cloud)("POST", cloud.api + "/tok/provision/update", headers, body)
    assert status == 200 and list(json.loads(reply)) == ["url", "checksum", "update", "version"] and b'": ' not in reply


def test_it_objects_to_invalid_requests():
    good = {"id": "D1", "product": "P7", "version": "1.0.0"}
    report = {"id": "D1", "update": "01H%023d" % 1, "success": True}
    for path, fields, headers in (
        ("/device/register", {"id": "D1", "product": "P7"}, {"Authorization": "bearer P7"}),
        ("/device/register", {"id": "auto", "product": "P7", "created": "2026-01-01"}, {"Authorization": "bearer P7"}),
        ("/device/register", {"id": "D1", "created": "2026-01-01"}, {"Authorization": "bearer P7"}),
        ("/device/register", {"id": "D1", "product": "P7", "created": "2026-01-01"}, {"Authorization": "P7"}),
        ("/device/register", {"id": "D1", "product": "P7", "created": 5}, {"Authorization": "bearer P7"}),
        ("/tok/provision/update", good, {}),
        ("/tok/provision/update", good, {"Content-Type": "text/plain"}),
        ("/tok/provision/update", {**good, "version": "1.0"}, {}),
        ("/tok/provision/update", {**good, "product": "P8"}, {}),
        ("/tok/provision/update", {**good, "id": 1}, {}),
        ("/tok/provision/updateReport", {**report, "success": "true"}, {}),
        ("/tok/provision/updateReport", {**report, "update": "X"}, {}),
        ("/image/%s" % report["update"], {}, {}),
    ):
        cloud = EmbedThis("P7")
        cloud.release("2.0.0", IMAGE)
        IotoAgent(cloud_function(cloud), cloud.builder, "P7", {"id": "D1", "product": "P7"}).register()
        lines = {"Content-Type": "application/json", "Authorization": cloud.devices["D1"]["token"], **headers}
        if fields is good and not headers:
            del lines["Content-Type"]
        status, _, _ = cloud_function(cloud)(
            "GET" if "image" in path else "POST", cloud.api + path, lines, json.dumps(fields).encode()
        )
        assert status == 400 and len(cloud.objections) == 1, (path, fields, headers)
