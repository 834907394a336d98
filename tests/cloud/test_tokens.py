"""Device tokens: takeovers, rotation and lost answers, in many orders.

The first owner of an id keeps it, and no device is locked out permanently.
"""

import itertools

import pytest
from cloud_under_test import PRODUCT
from device_actions import DAY, FORGET, audited_subjects, is_accepted
from ioto_tools.cloud.devices import tokens
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.operators import control, overview


def test_an_id_is_not_registered_again_while_its_device_sends_requests(cloud):
    token = cloud.device()
    assert is_accepted(cloud, token)
    for _ in range(10):  # the device checks in each day, just after another client has tried to register its id
        cloud.now_s += DAY
        refused = cloud.register("D1", address="elsewhere")
        assert refused.status == 409 and "ioto device claim" in refused.json()["error"]
        assert is_accepted(cloud, token)
    cloud.now_s += tokens.QUIET_S - 1
    assert cloud.register("D1", address="elsewhere").status == 409
    cloud.now_s += 1
    assert cloud.register("D1", address="elsewhere").status == 200 and audited_subjects(cloud, "device.again") == ["D1"]


def test_reports_alone_count_as_activity(cloud):
    """For example, a slow download may send only reports for days after its check-in."""
    update, token = cloud.publish("2.0.0")["id"], cloud.device()
    assert is_accepted(cloud, token)
    for _ in range(10):
        cloud.now_s += DAY
        assert cloud.report("D1", token, update, state="downloading").status == 200
        assert cloud.register("D1", address="elsewhere").status == 409


def test_an_unused_token_does_not_protect_the_id(cloud):
    """If the answer to its registration is lost, a device registers again."""
    first, second = cloud.device(), cloud.device()
    assert not is_accepted(cloud, first) and is_accepted(cloud, second)


def test_the_first_owner_regains_an_id_that_was_taken_over_during_its_silence(cloud):
    owner = cloud.device()
    assert is_accepted(cloud, owner)
    cloud.now_s += tokens.QUIET_S
    thief = cloud.device(address="elsewhere")
    assert is_accepted(cloud, thief) and audited_subjects(cloud, "device.taken_over") == []
    cloud.now_s += DAY
    assert is_accepted(cloud, owner) and audited_subjects(cloud, "device.taken_over") == ["D1"]
    assert not is_accepted(cloud, thief) and is_accepted(cloud, owner)
    assert cloud.register("D1").status == 409


def test_an_erased_board_registers_again_after_silence_or_at_once_after_a_claim(cloud):
    is_accepted(cloud, cloud.device())
    assert cloud.register("D1", board="erased").status == 409
    control.claim(cloud.site, "D1")
    is_accepted(cloud, cloud.device(board="erased"))
    cloud.now_s += tokens.QUIET_S
    assert is_accepted(cloud, cloud.device())
    for _ in range(12):  # the board is erased each time; only a few tokens are kept
        cloud.now_s += tokens.QUIET_S
        assert is_accepted(cloud, cloud.device())
        assert (
            len(
                cloud.site.database.read(
                    tokens.valid_tokens, cloud.site.database.read(overview.find_device, "D1")["key"]
                )
            )
            <= tokens._USED_MOST + 1
        )


@pytest.mark.sweep
def test_rotation_in_every_order_of_uses(cloud):
    """Uses of old and new token, lost answers and pauses, in every order: at each moment, one token is valid."""
    for number, story in enumerate(itertools.product(("old", "new", "hour"), repeat=4)):
        id = "D%d" % number
        token = cloud.device(id)
        is_accepted(cloud, token, id)
        control.rotate(cloud.site, [id])
        held = [token]  # tokens that the device may have stored
        for step in story:
            if step == "hour":
                cloud.now_s += 3600
                continue
            use = held[0] if step == "old" else held[-1]
            reply = cloud.check_in(id, use, "1.0.0")
            if reply.status != 200:
                assert reply.body == FORGET and step == "old" and len(held) > 1, story
                continue
            if use is not held[0]:
                held = [use]  # the first use of the new token makes the old one invalid
            if "token" in reply.json():
                held = [held[0], reply.json()["token"]]  # an earlier new token that was never used is invalid
                assert len(held[1]) <= 206
        assert is_accepted(cloud, held[-1], id), story


def test_a_rotated_token_is_sent_again_until_it_is_used(cloud):
    old = cloud.device()
    is_accepted(cloud, old)
    assert control.rotate(cloud.site, ["D1"])[0] == 1
    first = cloud.check_in("D1", old, "1.0.0").json()["token"]
    assert cloud.check_in("D1", old, "1.0.0").json() == {}  # the first answer may not have arrived yet
    cloud.now_s += 3600
    second = cloud.check_in("D1", old, "1.0.0").json()["token"]
    assert (
        is_accepted(cloud, old)
        and is_accepted(cloud, second)
        and not is_accepted(cloud, old)
        and not is_accepted(cloud, first)
    )
    cloud.now_s += 3600
    assert cloud.check_in("D1", second, "1.0.0").json() == {}
    kept = cloud.kind.kept(cloud.site)
    assert b"D1" in kept and all(token.encode() not in kept for token in (old, first, second))


def test_a_rotated_token_is_sent_with_an_offer_and_ends_stolen_tokens(cloud):
    owner = cloud.device()
    is_accepted(cloud, owner)
    cloud.now_s += tokens.QUIET_S
    thief = cloud.device()
    is_accepted(cloud, thief)
    cloud.publish("2.0.0")
    control.rotate(cloud.site, product="thermo")
    found = cloud.check_in("D1", owner, "1.0.0").json()
    assert (
        found["version"] == "2.0.0"
        and is_accepted(cloud, found["token"])
        and not is_accepted(cloud, thief)
        and not is_accepted(cloud, owner)
    )


def test_a_wrong_database_makes_no_device_delete_its_token(cloud):
    """The site may be empty by mistake, so an unknown product is refused with another error."""
    fields = {"id": "D1", "version": "1.0.0", "product": "ELSEWHERE"}
    reply = cloud.post("/tok/provision/update", fields, "bearer " + "T" * 40)
    assert reply.status == 403 and FORGET not in reply.body and "product" in reply.json()["error"]
    assert cloud.post("/tok/provision/update", {**fields, "product": PRODUCT}, "bearer " + "T" * 40).body == FORGET


def test_first_use_of_a_token_made_by_hand_ends_the_earlier_one(cloud):
    from ioto_tools.cloud.devices import registration

    old = cloud.device()
    is_accepted(cloud, old)
    new = registration.register_by_hand(cloud.site, PRODUCT, "D1")
    assert is_accepted(cloud, old) and is_accepted(cloud, new) and not is_accepted(cloud, old)


def test_revoke_and_rotate_refuse_unknown_devices(cloud):
    for call in (lambda: control.revoke(cloud.site, "D9"), lambda: control.rotate(cloud.site, ["D9"])):
        with pytest.raises(CloudError, match="D9"):
            call()
