"""The agent's files move to a new folder before littlefs compacts the old one; the power may be cut at any time."""

import pytest
from ioto.recall import decode
from ioto_tools.cloud.operators import overview
from ioto_tools.virtual_board import Cut
from rig import Rig


def saves(rig):
    """The number of times the record was saved."""
    files = rig.board.files()
    return max(decode(files[name])[0] if name in files else 0 for name in ("state/record.0", "state/record.1"))


@pytest.mark.sweep
def test_record_survives_many_saves(tmp_path):
    """More saves are made than littlefs allows before it compacts. Other files in the folder are moved too."""
    rig = Rig(tmp_path, update__period=5)
    rig.run(until_s=10)
    rig.board.write_files({"state/other": b"of somebody else"})
    rig.run(until_s=500)
    files = rig.board.files()
    assert saves(rig) > 58 and files["state/other"] == b"of somebody else"
    assert not [name for name in files if "state.new" in name]
    assert overview.device(rig.site, "DEVICE0001")["registrations"] == 1


def before_renewal(folder):
    """(rig, its flash): a board shortly before the 24th save of the record, which moves the files to a new folder."""
    rig = Rig(folder, update__period=5)
    while saves(rig) < 20:
        rig.run(until_s=11)  # shorter runs would count as failed starts and lead to safe mode
    assert saves(rig) < 23
    return rig, bytes(rig.board.flash.data)


def cut_at(rig, flash, op, when):
    rig.board.flash.data[:] = flash
    rig.run(until_s=40, cut=Cut(op, when))
    run = rig.run(until_s=30)
    files = rig.board.files()
    assert "Traceback" not in run.console and "damaged" not in run.console, (op, run.console)
    assert (
        saves(rig) > 22 and "state/provision.json" in files and not [name for name in files if "state.new" in name]
    ), (op, sorted(files))
    assert overview.device(rig.site, "DEVICE0001")["registrations"] == 1


def operations(rig):
    n = len(rig.run(until_s=40).trace.ops)
    assert saves(rig) >= 25
    return n


@pytest.mark.sweep
def test_power_cut_while_the_folder_is_renewed(tmp_path):
    rig, flash = before_renewal(tmp_path)
    for op in range(0, operations(rig), 11):
        cut_at(rig, flash, op, ("before", "during", "after")[op // 11 % 3])


@pytest.mark.sweep
@pytest.mark.parametrize("when", ["during", "after"])  # a cut before an operation equals a cut after the previous one
def test_power_cut_at_every_operation_of_a_renewal(tmp_path, when):
    rig, flash = before_renewal(tmp_path)
    for op in range(operations(rig)):
        cut_at(rig, flash, op, when)


@pytest.mark.sweep
def test_folder_that_cannot_be_renewed_stays(tmp_path):
    """The record is still saved."""
    rig, _ = before_renewal(tmp_path)
    rig.board.write_files({"state.new": b"a file in the way"})
    run = rig.run(until_s=60)
    assert saves(rig) > 25 and "warn folder" in run.console, run.console
    assert overview.device(rig.site, "DEVICE0001")["registrations"] == 1


@pytest.mark.sweep
def test_full_file_system_is_logged(tmp_path):
    rig, _ = before_renewal(tmp_path)
    for n, size in enumerate((65536, 4096)):
        for i in range(1000):
            try:
                rig.board.write_files({"full.%d.%d" % (n, i): bytes(size)})
            except ValueError:
                break
    run = rig.run(until_s=60)
    assert saves(rig) > 25 and "warn folder: OSError(28,)" in run.console, run.console


def test_number_of_saves_in_an_update(tmp_path):
    """The number includes saves at the update's check-ins, as in docs/figures.md; littlefs compacts after 58 saves."""
    rig = Rig(tmp_path, blocks=12)
    rig.run(until_s=60)
    before = saves(rig)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=4000, stop=lambda line: line.startswith("CONFIRMED"))
    assert run.ended == "stopped"
    rig.run(until_s=60)
    assert saves(rig) - before <= 9
