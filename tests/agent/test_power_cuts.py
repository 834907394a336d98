"""Power cuts before, during and after every flash operation of a whole update, with a good and with a crashing image.

Each cut has its own board; a failure message names the cut to replay.
"""

import functools
import hashlib
import tempfile

import pytest
from rig import Rig

SLOT = 0x10000
UNTIL_S = 60


def run_until_at_rest(rig):
    """Run the board until it is at rest; return the label of its running slot."""
    for _ in range(12):
        run = rig.run(until_s=UNTIL_S)
        assert run.ended in ("time", "idle"), run.ended
        record = rig.record()
        if record["phase"] == "idle" and not record["reports"] and not rig.board.describe_otadata().count("PENDING"):
            return run.slots[-1]
    raise AssertionError("never at rest: %s" % record)


# ---- invariants


def check_a_slot_boots(rig, run):
    assert run.slots and run.slots[-1] in ("ota_0", "ota_1"), run.boots


def check_only_verified_images_run(rig, run, known):
    for label in set(run.slots):
        image = rig.board.read_slot(label)
        assert not image or hashlib.sha256(image).hexdigest() in known, "unknown image in %s" % label


def check_proven_slot_is_unchanged(rig):
    """The old slot contains the old image, byte for byte, until the new one is confirmed."""
    if "2/VALID" not in rig.board.describe_otadata():
        assert rig.board.read_slot("ota_0") == rig.first


def check_reported_version_runs(rig, label):
    from ioto_tools.cloud.operators import overview

    runs = hashlib.sha256(rig.board.read_slot(label)).hexdigest()
    device = overview.devices(rig.site)[0]
    assert rig.versions[runs] == device["version"], "%s is running, but the cloud has stored %s" % (
        rig.versions[runs],
        device["version"],
    )


def check_another_boot_changes_nothing(rig, label):
    before = rig.board.describe_otadata(), rig.board.read_slot("ota_0"), rig.board.read_slot("ota_1")
    run = rig.run(until_s=UNTIL_S)
    assert run.slots == [label]
    assert before == (rig.board.describe_otadata(), rig.board.read_slot("ota_0"), rig.board.read_slot("ota_1"))
    return run


# ---- the sweep


def fresh(folder, crashing):
    rig = Rig(folder, blocks=3, update__period=20, update__retry=1)
    image = rig.image(1)
    rig.versions = {hashlib.sha256(rig.first).hexdigest(): "1.0.0", hashlib.sha256(image).hexdigest(): "1.0.1"}
    rig.publish(image, "1.0.1")
    if crashing:
        rig.board.faults[hashlib.sha256(image).hexdigest()] = "crash"
    return rig


@functools.cache
def operations(crashing):
    """The flash operations of a clean run, as (kind, address)."""
    with tempfile.TemporaryDirectory() as folder:
        run = fresh(folder, crashing).run(until_s=UNTIL_S)
    assert run.slots[-1] == ("ota_0" if crashing else "ota_1"), run.console
    return [(each.kind, each.address) for each in run.trace.ops]


def cuts(crashing):
    """Each operation at which the sweep cuts the power.

    Until the new image starts, the runs with a good and a crashing image are the same: of this part, the sweep with the
    crashing one takes every fourth operation.
    """
    n = len(operations(crashing))
    if not crashing:
        return list(range(n))
    pairs = enumerate(zip(operations(True), operations(False)))
    common = next(i for i, (theirs, ours) in pairs if theirs != ours)
    return [*range(0, common, 4), *range(common, n)]


def cut_once(folder, crashing, op, when):
    from ioto_tools.virtual_board import Cut

    rig = fresh(folder, crashing)
    replay = "%s image, Cut(%d, %r)" % ("crashing" if crashing else "good", op, when)
    try:
        cut = rig.run(until_s=UNTIL_S, cut=Cut(op, when))
        boots = len(cut.boots)
        check_only_verified_images_run(rig, cut, rig.versions)
        check_proven_slot_is_unchanged(rig)
        label = run_until_at_rest(rig)
        run = check_another_boot_changes_nothing(rig, label)
        boots += len(run.boots)
        check_a_slot_boots(rig, run)
        check_only_verified_images_run(rig, run, rig.versions)
        check_reported_version_runs(rig, label)
        assert label == ("ota_0" if crashing else "ota_1"), "rests on %s" % label
        assert boots <= 12, "%d boots" % boots
    except AssertionError as e:
        raise AssertionError("%s: %s" % (replay, e)) from e
    finally:
        rig.board.close()
        rig.site.close()
    return cut.ended


SHARDS = 8
MOMENTS = ("before", "during", "after")
QUICK = 24  # `make test` cuts every QUICK-th operation, `make sweep` cuts all of them


@pytest.mark.parametrize("moment", MOMENTS)
def test_cut_at_operations_of_all_stages(tmp_path, moment):
    n = len(operations(False))
    ended = []
    for op in range(QUICK * MOMENTS.index(moment), n, QUICK * len(MOMENTS)):
        folder = tmp_path / str(op)
        folder.mkdir()
        ended.append(cut_once(folder, False, op, moment))
    assert "cut" in ended


@pytest.mark.sweep
@pytest.mark.parametrize("crashing", [False, True], ids=["good", "crashing"])
@pytest.mark.parametrize("when", MOMENTS[1:])  # a cut before an operation equals a cut after the previous one
@pytest.mark.parametrize("shard", range(SHARDS))
def test_cut_during_and_after_every_operation(tmp_path, crashing, when, shard):
    for op in cuts(crashing)[shard::SHARDS]:
        folder = tmp_path / str(op)
        folder.mkdir()
        cut_once(folder, crashing, op, when)
