"""Memory beside applications of several sizes: signed updates over TLS, with a model of the chip's two heaps.

In some tests, one allocation of the agent fails.
"""

import pytest
from ioto_tools.cloud.releases.publish import publish
from ioto_tools.cloud.site import certificates
from ioto_tools.deploy.agent_build import agent_files
from ioto_tools.deploy.device_files import stripped_sources
from ioto_tools.virtual_board.memory import LARGE_CHAIN, SMALL_CHAIN
from rig import MAIN, PRODUCT, Rig
from signing import pem, sealed

# The argument is in KB of the chip's memory; objects need 1.45 times as many bytes here (virtual_board/memory.py).
APPLICATION = "data = [bytearray(1024 * 29 // 20) for _ in range(%d)]\n"
WITHOUT_MEMORY = (
    MAIN.replace("import rWatch", "import rWatch, rWatchOff")
    .replace(
        "asyncio.run(agent(",
        """
import _faults, machine

def told(data, staged):
    print("USES", _faults.allocated)
    staged.apply()

rWatchOff("device:update", update)
rWatch("device:update", told)
rWatch("device:confirmed", lambda data, version: print("USES", _faults.allocated))

async def main(made):
    if machine.reset_cause() == %d:
        %s
    await made.run()
    print("ENDED")

asyncio.run(main(agent(""",
    )
    .replace(".run())", "))")
)
PWRON, HARD = 1, 2  # the first start, and the trial


def board(folder, main, chain=SMALL_CHAIN):
    """A board with a trusted key and its own Wi-Fi settings, and a cloud with a signed release."""
    rig = Rig(
        folder, main=main, files={"ours.pem": pem("ours")}, update__keys=["ours.pem"], air={"wifi": {"net": "secret"}},
        wifi={"ssid": "net", "password": "secret"}, network__dns="",
    )  # fmt: skip
    for peer in rig.air.peers.values():
        peer.chain = chain
    release = rig.folder / "release.bin"
    release.write_bytes(sealed(rig.image(1), "1.0.1"))
    publish(rig.site, release, PRODUCT, "1.0.1")
    return rig


def is_updated(line):
    """Is the update confirmed? After a boot without the application, only the log of the next start may show this."""
    return line.startswith("CONFIRMED 1.0.1") or "boot is idle: ota_1 1.0.1, otadata valid" in line


# The sizes are from docs/network.md, "Certificates that fit". With 60 KB, a boot needs the memory reserved for TLS to
# reread the staged image.
SIZES = [(40, True, SMALL_CHAIN), (20, True, LARGE_CHAIN), (60, False, SMALL_CHAIN), (80, False, LARGE_CHAIN)]
MORE = [
    (10, True, LARGE_CHAIN),
    (20, True, SMALL_CHAIN),
    (80, False, SMALL_CHAIN),
    (40, False, LARGE_CHAIN),
    (60, False, LARGE_CHAIN),
]


@pytest.mark.parametrize("kb, beside, chain", SIZES + [pytest.param(*each, marks=pytest.mark.sweep) for each in MORE])
def test_signed_update_beside_or_without_the_application(tmp_path, kb, beside, chain):
    """The check-in runs beside the application, or in a boot without main.py."""
    rig = board(tmp_path, APPLICATION % kb + MAIN, chain)
    run = rig.run(until_s=90000, stop=is_updated)
    assert rig.board.describe_otadata() == "1/VALID 2/VALID", run.console
    assert ("without the application" not in run.console) == beside, run.console


@pytest.mark.sweep
@pytest.mark.parametrize(
    "kb, beside, chain", [(0, True, LARGE_CHAIN), pytest.param(20, False, SMALL_CHAIN, marks=pytest.mark.sweep)]
)
def test_signed_update_with_the_agent_as_source(tmp_path, kb, beside, chain):
    """With `--source`, the board compiles each part whenever the part is loaded."""
    rig = board(tmp_path, APPLICATION % kb + MAIN, chain)
    rig.board.write_files({**{path: None for path in agent_files()}, **stripped_sources()})
    run = rig.run(until_s=90000, stop=is_updated)
    assert rig.board.describe_otadata() == "1/VALID 2/VALID", run.console
    assert ("without the application" not in run.console) == beside, run.console


def allocations(folder, start):
    """The numbers of the hardware accesses in a whole update that are followed by an allocation.

    Accesses are numbered from the first iteration of the event loop in this start.
    """
    run = board(folder, WITHOUT_MEMORY % (start, "_faults.note()")).run(stop=lambda line: line.startswith("USES ["))
    found = max((line for line in run.console.splitlines() if line.startswith("USES [")), key=len)
    return [int(n) for n in found[6:-1].split(",")]


def update_with_failed_allocation(folder, start, n):
    """One allocation fails: the loop continues, and the update completes.

    The trial may need a boot without main.py.
    """
    rig = board(folder, WITHOUT_MEMORY % (start, "_faults.fail(%d)" % n))
    run = rig.run(until_s=40000, stop=is_updated)
    assert 'File "main.py"' not in run.console and "ENDED" not in run.console, "%d: %s" % (n, run.console)
    assert rig.board.describe_otadata() == "1/VALID 2/VALID", "%d: %s" % (n, run.console)
    return "emory" in run.console


@pytest.mark.sweep
@pytest.mark.parametrize("start", [PWRON, HARD])
def test_failed_allocation_does_not_stop_the_update(tmp_path, start):
    found = allocations(tmp_path / "all", start)
    assert len(found) > 100
    logged = [update_with_failed_allocation(tmp_path / str(n), start, n) for n in found[2 :: len(found) // 8]]
    assert any(logged), "no failure was ever logged"


@pytest.mark.sweep
@pytest.mark.parametrize("part", range(8))
@pytest.mark.parametrize("start", [PWRON, HARD])
def test_many_failed_allocations_do_not_stop_the_update(tmp_path, start, part):
    """Every eighth allocation fails, each in its own update: some 150 in total.

    The other allocations are not tested, because that would take half an hour.
    """
    for n in allocations(tmp_path / "all", start)[8 * part + 4 :: 64]:
        update_with_failed_allocation(tmp_path / str(n), start, n)


def staged(folder, what):
    """A board with a staged image and without power; its next start runs the code `what`."""
    rig = board(folder, MAIN.replace("staged.apply()", "staged.defer(30)"))
    rig.run(stop=lambda line: line.startswith("DEVICE:UPDATE"))
    rig.board.write_files({"main.py": (WITHOUT_MEMORY % (PWRON, what)).encode()})
    return rig


@pytest.mark.sweep
@pytest.mark.parametrize("pieces", [2, pytest.param(30, marks=pytest.mark.sweep)])
def test_failed_allocation_does_not_discard_the_staged_image(tmp_path, pieces):
    """The allocation fails in the start that rereads the image; the image is not downloaded again."""
    run = staged(tmp_path / "all", "_faults.note()").run(stop=lambda line: line.startswith("USES ["))
    found = [int(n) for n in run.console.split("USES [")[1].split("]")[0].split(",")]
    for n in found[1 : 150 : 150 // pieces]:  # allocations in begin.py; another sweep tests those in the check-in
        rig = staged(tmp_path / str(n), "_faults.fail(%d)" % n)
        run = rig.run(until_s=40000, stop=is_updated)
        assert rig.board.describe_otadata() == "1/VALID 2/VALID" and "staged 1.0.1" not in run.console, "%d: %s" % (
            n,
            run.console,
        )


# One allocation fails while the agent reads the staged image; all others succeed.
NONE_FOR_THE_IMAGE = """from esp32 import Partition
        read, first = Partition.readblocks, [True]
        def readblocks(self, n, buf, offset=0):
            if self.info()[4] == "ota_1" and len(buf) > 512 and first:
                first.pop()
                raise MemoryError
            read(self, n, buf, offset)
        Partition.readblocks = readblocks"""


def test_memory_reserved_for_tls_is_used_to_reread_a_staged_image(tmp_path):
    """The agent starts once more, and the image is not downloaded again."""
    rig = staged(tmp_path / "rig", NONE_FOR_THE_IMAGE)
    run = rig.run(until_s=40000, stop=is_updated)
    assert run.console.count("error MemoryError") == 1 and "staged 1.0.1" not in run.console, run.console
    assert rig.board.describe_otadata() == "1/VALID 2/VALID"


@pytest.mark.sweep
def test_failed_handshakes_leave_no_socket_open(tmp_path):
    """More than a dozen handshakes fail in a row; a chip has ten sockets, and memory for one connection."""
    rig = board(tmp_path, MAIN)
    rig.board.write_files({"ca.pem": pem_of_another_authority(tmp_path)})
    run = rig.run(
        until_s=200000, stop=lambda line, seen=[]: "tls_untrusted" in line and (seen.append(line), len(seen) > 12)[1]
    )
    assert run.console.count("tls_untrusted") > 12 and "OSError" not in run.console, run.console[-2000:]
    assert len(rig.air.socks) <= 1
    assert {who for who in rig.board.hardware.memory.allocations if isinstance(who, int)} <= set(rig.air.socks)


def pem_of_another_authority(folder):
    certificates.make(folder / "other", ["cloud.test"])
    return (folder / "other" / "ca.pem").read_bytes()
