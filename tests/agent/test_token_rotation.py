"""The cloud rotates a token: the new one is stored before it is used, and the old one is valid until then.

The power may be cut at any operation.
"""

import json

import pytest
from ioto_tools.cloud.operators import control, overview
from ioto_tools.virtual_board import Cut
from rig import Rig

DEVICE = "DEVICE0001"


def rotating(folder):
    """A board that has registered and checked in once, and is about to get a new token."""
    rig = Rig(folder, update__period=20, update__retry=1, watchdog=0)
    rig.run(until_s=5)
    control.rotate(rig.site, [DEVICE])
    return rig


def token(rig):
    return json.loads(rig.board.files()["state/provision.json"])["token"]


def hashes_in_cloud(rig):
    from ioto_tools.cloud.devices import tokens

    return [
        each["hash"]
        for each in rig.site.database.read(
            tokens.valid_tokens, rig.site.database.read(overview.find_device, DEVICE)["key"]
        )
    ]


def test_new_token_is_stored_and_used(tmp_path):
    from ioto_tools.cloud.devices.tokens import hash_token

    rig = rotating(tmp_path)
    old = token(rig)
    run = rig.run(until_s=30)
    new = token(rig)
    assert new != old and hashes_in_cloud(rig) in ([hash_token(old), hash_token(new)], [hash_token(new)])
    rig.run(until_s=60)
    assert token(rig) == new and hashes_in_cloud(rig) == [hash_token(new)]
    device = overview.device(rig.site, DEVICE)
    assert device["registrations"] == 1 and device["checkins"] > 2
    assert new not in run.console and old not in run.console


def cut_once(folder, op, when):
    """The device never registers again: its file contains the old or the new token.

    Both are valid until the new one is used.
    """
    rig = rotating(folder)
    old = token(rig)
    assert rig.run(until_s=25, cut=Cut(op, when)).ended == "cut", op
    kept = token(rig) == old
    rig.board.clock.advance(3600e6)  # a new token that was not used is replaced by another
    control.rotate(rig.site, [DEVICE])
    rig.run(until_s=50)
    assert token(rig) != old and overview.device(rig.site, DEVICE)["registrations"] == 1, (op, when)
    rig.board.close()
    rig.site.close()
    return kept


def operations(folder):
    n = len(rotating(folder).run(until_s=25).trace.ops)
    assert n > 6
    return n


@pytest.mark.sweep
def test_power_cut_during_a_rotation(tmp_path):
    n = operations(tmp_path / "clean")
    kept = {cut_once(tmp_path / str(op), op, ("before", "during", "after")[op % 3]) for op in range(0, n, 2)}
    assert kept == {True, False}


@pytest.mark.sweep
@pytest.mark.parametrize("when", ["during", "after"])  # a cut before an operation equals a cut after the previous one
def test_power_cut_at_every_operation_of_a_rotation(tmp_path, when):
    for op in range(operations(tmp_path / "clean")):
        cut_once(tmp_path / str(op), op, when)


@pytest.mark.sweep
def test_token_that_cannot_be_stored_is_not_used(tmp_path):
    """If it were used, a reset would leave the board with an expired token, and its id would be refused."""
    rig = rotating(tmp_path)
    old = token(rig)
    rig.board.write_files({"state/provision.json.new/in-the-way": b"x"})
    run = rig.run(until_s=200)
    assert "provision.json" in run.console and token(rig) == old and overview.device(rig.site, DEVICE)["checkins"] > 3
    rig.board.write_files({"state/provision.json.new/in-the-way": None, "state/provision.json.new": None})
    rig.board.clock.advance(3600e6)
    rig.run(until_s=100)
    assert token(rig) != old and overview.device(rig.site, DEVICE)["registrations"] == 1


BAD = ("", "x" * 207, "a b", "a\r\nX-Evil: 1", "a\x00", "käse", 5, None, ["t"], {"t": 1}, True)


@pytest.mark.sweep
def test_invalid_token_is_ignored(tmp_path):
    from ioto_tools.virtual_board.peers import ScriptedServer, http_response
    from rig import secure

    replies = [json.dumps({"token": bad}).encode() for bad in BAD] + [b"[]", b'"token"']
    heard = []

    def answer(method, path, headers, body):
        if path.endswith("/register"):
            return [
                http_response(json.dumps({"api": "https://cloud.test", "token": "FIRST", "registered": True}).encode())
            ]
        heard.append(headers["authorization"])
        return [http_response(replies[len(heard) % len(replies)])]

    rig = Rig(
        tmp_path,
        cloud=False,
        air={"peers": {("cloud.test", 443): secure(ScriptedServer(answer))}},
        update__period=1,
        update__retry=1,
    )
    rig.run(until_s=300)
    assert len(heard) > len(replies) and set(heard) == {"bearer FIRST"}, heard


def test_token_in_the_configuration_is_not_replaced(tmp_path):
    from ioto_tools.cloud.devices import registration
    from ioto_tools.cloud.releases.publish import product_of

    rig = Rig(tmp_path / "a", update__period=20)
    made = registration.register_by_hand(rig.site, product_of(rig.site, "product")["id"], DEVICE)
    rig.board.write_files({"ioto.json": config_with(rig, made)})
    rig.run(until_s=5)
    control.rotate(rig.site, [DEVICE])
    rig.run(until_s=100)
    assert overview.device(rig.site, DEVICE)["checkins"] > 3 and overview.device(rig.site, DEVICE)["registrations"] == 1


def config_with(rig, made):
    found = json.loads(rig.board.files()["ioto.json"])
    return json.dumps({**found, "token": made, "api": "https://cloud.test"}).encode()
