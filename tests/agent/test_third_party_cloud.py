"""A board with a strict stand-in for EmbedThis' cloud, which sends compact JSON without additional fields.

The stand-in refuses everything that the protocol does not promise.
"""

import json

import pytest
from embedthis import EmbedThis
from ioto.recall import decode
from ioto.record import encode
from ioto_tools.virtual_board.peers import AsgiServer, ScriptedServer, http_response
from rig import PRODUCT, Rig, secure


def board(tmp_path, cloud, **changes):
    cloud.builder, cloud.api, cloud.images = "https://builder.test/api", "https://api.test", "https://images.test"
    app = secure(AsgiServer(cloud))
    peers = {(host, 443): app for host in ("builder.test", "api.test", "images.test")}
    return Rig(tmp_path / "rig", cloud=False, air={"peers": peers}, builder="https://builder.test/api", **changes)


@pytest.mark.parametrize("ranges", [True, False])
def test_update_from_embedthis_cloud(tmp_path, ranges):
    cloud = EmbedThis(PRODUCT, ranges=ranges)
    rig = board(tmp_path, cloud)
    update = cloud.release("1.0.1", rig.image(1))
    run = rig.run(until_s=2 * 3600)
    assert run.slots == ["ota_0", "ota_1"] and rig.board.describe_otadata() == "1/VALID 2/VALID", run.console
    assert cloud.objections == []
    assert [(r["success"], r["id"], r["update"]) for r in cloud.reports] == [(True, "DEVICE0001", update)]
    assert cloud.devices["DEVICE0001"]["properties"]["version"] == "1.0.1"


def test_failure_is_reported_once(tmp_path):
    import hashlib

    cloud = EmbedThis(PRODUCT)
    rig = board(tmp_path, cloud)
    image = rig.image(1)
    rig.board.faults[hashlib.sha256(image).hexdigest()] = "crash"
    update = cloud.release("1.0.1", image)
    run = rig.run(until_s=4 * 3600)
    assert run.slots == ["ota_0", "ota_1"] * 3 + ["ota_0"], run.slots
    assert [(r["success"], r["update"]) for r in cloud.reports] == [(False, update)] and cloud.objections == []


def test_unclaimed_device_updates_once_claimed(tmp_path):
    cloud = EmbedThis(PRODUCT, claimed=False)
    rig = board(tmp_path, cloud)
    assert rig.run(until_s=1200).slots == ["ota_0"]
    cloud.claimed = True
    cloud.release("1.0.1", rig.image(1))
    assert rig.run(until_s=2 * 3600).slots[-1] == "ota_1" and cloud.objections == []


@pytest.mark.parametrize("how", ["revoke", "remove"])
def test_forgotten_device_registers_again(tmp_path, how):
    cloud = EmbedThis(PRODUCT)
    rig = board(tmp_path, cloud)
    rig.run(until_s=600)
    getattr(cloud, how)("DEVICE0001")
    cloud.release("1.0.1", rig.image(1))
    assert rig.run(until_s=3 * 3600).slots[-1] == "ota_1" and cloud.objections == []


def test_generated_id_is_kept(tmp_path):
    cloud = EmbedThis(PRODUCT)
    rig = board(tmp_path, cloud, device={"id": "auto"})
    rig.run(until_s=600)
    (made,) = cloud.devices
    rig.run(until_s=600)
    rig.board.write_files({"state/provision.json": None})
    rig.run(until_s=2 * 3600)
    assert list(cloud.devices) == [made] and len(made) == 10


@pytest.mark.sweep
@pytest.mark.parametrize("builder_refuses", [False, True])
def test_moved_api_is_found_after_days_without_a_reply(tmp_path, builder_refuses):
    """After days without a reply from the api, the device asks the Builder again.

    Until then, and if the Builder refuses, the device keeps its registration.
    """
    cloud = EmbedThis(PRODUCT)
    rig = board(tmp_path, cloud, update__period=60, registration__hosts=["api.test", "images.test"])
    rig.run(until_s=300)
    for name in ("state/record.0", "state/record.1"):  # the number of failures after many days
        seq, record = decode(rig.board.files()[name])
        rig.board.write_files({name: encode(seq, dict(record, failures=97))})
    old = rig.air.peers.pop((rig.air.names["api.test"], 443))
    cloud.api, before = "https://images.test", json.loads(rig.board.files()["state/provision.json"])
    cloud.release("1.0.1", rig.image(1))
    if builder_refuses:
        rig.air.peers[(rig.air.names["builder.test"], 443)] = secure(
            ScriptedServer(lambda *request: [http_response(b"lives", 409)])
        )
    run = rig.run(until_s=900)
    assert (run.slots[-1] == "ota_1") != builder_refuses, run.console[-800:]
    if builder_refuses:
        kept = json.loads(rig.board.files()["state/provision.json"])
        assert kept.pop("asked") > before.pop("asked") and kept == before and "409" in run.console
        rig.air.peers[(rig.air.names["api.test"], 443)] = old
        assert rig.run(until_s=900).slots[-1] == "ota_1"


def test_update_from_embedthis_cloud_with_urequests(tmp_path):
    cloud = EmbedThis(PRODUCT)
    rig = board(tmp_path, cloud, update__transport="urequests", tls__verify=False)
    cloud.release("1.0.1", rig.image(1))
    run = rig.run(until_s=2 * 3600)
    assert run.slots == ["ota_0", "ota_1"] and cloud.objections == [], run.console
