"""Figures of docs/figures.md: flash operations, file system reads, heap, allocations, instructions, longest pause."""

import re
import shutil
from pathlib import Path

import pytest
from ioto_tools.deploy.agent_build import compiled_files
from pauses import PAUSES, gaps
from rig import MAIN, Rig

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.sweep
def test_longest_pause_of_another_task(tmp_path):
    """A task ticks every ms during two updates; between two ticks, there is at most one flash operation of 60 ms.

    The record was saved 40 times before: littlefs would compact its folder after some 45 saves, in the first update.
    """
    rig = Rig(
        tmp_path,
        blocks=12,
        air={"wifi": {"net": "secret"}},
        wifi={"ssid": "net", "password": "secret"},
        network__dns="",
        update__period=10,
    )
    rig.run(until_s=400)
    rig.board.write_files({"main.py": PAUSES.encode()})
    for n, slot in ((1, "ota_1"), (2, "ota_0")):
        rig.publish(rig.image(n), "1.0.%d" % n)
        run = rig.run(until_s=40)
        assert run.slots[-1] == slot, run.console
        found = gaps(run)
        print("longest pauses in ms:", found)
        assert len(found) > 2 and max(found.values()) <= 60, found


def test_flash_operations_per_block(tmp_path):
    """Each block costs one erase and one program."""
    rig = Rig(tmp_path, blocks=12, main=MAIN.replace("staged.apply()", "pass"))
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=60)
    slot = rig.board.partition("ota_1")
    inside = [op for op in run.trace.ops if slot.address <= op[1] < slot.address + slot.size]
    assert [op[0] for op in inside].count("erase") == 12 and [op[0] for op in inside].count("program") == 12
    assert [op[1] for op in inside if op[0] == "erase"] == [slot.address + 4096 * n for n in range(12)]


def test_size_of_the_files_that_every_start_loads():
    names = "__init__ start prepare agent setup semver certs recall begin update otadata".split()
    assert sum(len(compiled_files()[name + ".mpy"]) for name in names) < 28 * 1024


READS = """
import esp32
reads = [0, 0]
read = esp32._short

def counted(at, buf):
    reads[0] += 1
    reads[1] += len(buf)
    return read(at, buf)

esp32._short = counted
"""
TURN = """
import asyncio
from ioto.start import agent

made = agent()

async def first():
    print("READS", *reads)
    await asyncio.sleep(1)

asyncio.run(first())
"""


def test_file_system_reads_until_the_first_turn(tmp_path):
    """Each import searches its folder four times; with one file per part, it took 3,960 reads of 241,000 bytes."""
    rig = Rig(
        tmp_path,
        air={"wifi": {"net": "secret"}},
        wifi={"ssid": "net", "password": "secret"},
        network__dns="",
        update__period="1 day",
    )
    rig.run(until_s=60)
    rig.board.write_files({"boot.py": READS.encode() + (ROOT / "boot.py").read_bytes(), "main.py": TURN.encode()})
    run = rig.run(until_s=60, stop=lambda line: "READS" in line)
    reads, size = map(int, re.search(r"READS (\d+) (\d+)", run.console).groups())
    print("reads and bytes:", reads, size)
    assert 1000 < reads <= 1700 and 70_000 < size <= 110_000, (reads, size)


@pytest.mark.sweep
def test_heap_does_not_grow_and_allocation_per_block():
    from tests.bench.measure import Server, run

    with Server() as port:
        (_, erases, programs, reads, early, late), _ = run("heap", port, 410)
        assert (erases, programs, reads) == (410, 410, 410)
        assert 0 < late <= early, "heap grew from %d to %d bytes" % (early, late)
        (few, *_), _ = run("alloc", port, 20, heap="8m")
        (many, *_), _ = run("alloc", port, 120, heap="8m")
        assert (many - few) / 100 <= 700


@pytest.mark.sweep
@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed (apt-get install valgrind)")
def test_instructions_per_block():
    from tests.bench.measure import Server, instructions

    with Server() as port:
        ours, bare = instructions("agent", port), instructions("socket", port)
    assert ours <= 1.3 * bare, "%d instructions, the bare loop has %d" % (ours, bare)


@pytest.mark.sweep
@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed (apt-get install valgrind)")
def test_instructions_per_block_of_a_packed_file():
    from tests.bench.measure import Server, instructions

    with Server() as port:
        raw, *packed = (instructions(mode, port, 20, 60) for mode in ("agent", "delta", "compressed"))
    assert max(packed) <= 8 * raw, "%s instructions, a raw block has %d" % (packed, raw)
