"""A Linux host instead of a board: the agent as a process of the unix port, a real device cloud, real time.

The slot is a file. `scripts/update PATH` installs that file and prints a word, which decides what the agent does next.
"""

import asyncio
import hashlib
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from linux_host import GOOD, IMAGE, RESTART, Host, Served, keep, kept

WAITS = """
async def later(staged):
    import os
    print("STAGED")
    while "go" not in os.listdir() and staged.version == "1.0.1":
        await asyncio.sleep_ms(10)
    staged.apply()

from ioto import rWatchOff
rWatchOff("device:update", update)
rWatch("device:update", lambda data, staged: asyncio.create_task(later(staged)))
"""
SELFTEST = 'rWatch("device:selftest", lambda data, arg: %s)'


@pytest.fixture
def cloud(tmp_path):
    made = Served(tmp_path)
    yield made
    made.close()


@pytest.fixture
def host(tmp_path, cloud):
    """host(script, ...) creates a device; its process is killed at the end, and none may remain."""
    made = []

    def make(does="echo continue", **options):
        made.append(Host(tmp_path, cloud, does, **options))
        return made[-1]

    yield make
    for each in made:
        each.kill()
        assert processes_in(each.root) == []


def processes_in(folder):
    """The command lines of the processes whose current folder is `folder` or in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append((process / "cmdline").read_bytes())
    return found


# ---- output of the script


@pytest.mark.parametrize("inside", ["", "it's $HOME; a folder/"], ids=["here", "odd-name"])
@pytest.mark.parametrize("transport", ["asyncio", "urequests"])
def test_continue_keeps_the_agent_running_as_the_new_version(cloud, host, transport, inside):
    device = host(keep(), transport=transport, inside=inside)
    cloud.publish(IMAGE, "1.0.1")
    device.start().until("CONFIRMED 1.0.1")
    assert device.reported("confirmed") == GOOD and kept(device) == [IMAGE]
    device.becomes(lambda record: record["slots"]["file"]["version"] == "1.0.1")
    cloud.publish(IMAGE[:50_001], "1.0.2")  # shorter than the previous file
    device.until("CONFIRMED 1.0.2")
    assert kept(device) == [IMAGE, IMAGE[:50_001]] and device.process.poll() is None


@pytest.mark.parametrize("word,status", [("restart", RESTART), ("exit", 0)])
def test_restart_and_exit_end_the_agent_and_the_next_start_confirms(cloud, host, word, status):
    device = host(keep("echo %s" % word))
    cloud.publish(IMAGE, "1.0.1")
    assert device.start().ended() == status and "CONFIRMED" not in device.console
    assert device.record()["phase"] == "trial"
    device.start().until("CONFIRMED 1.0.1")
    assert device.reported("confirmed") == GOOD and kept(device) == [IMAGE]
    assert (
        device.start().until("boot is idle")
        and device.record()["slots"]["file"]["image"] == hashlib.sha256(IMAGE).hexdigest()
    )


OUTPUTS = {
    "nothing": (":", None),
    "lines": ("echo unpacking 12 files; echo; echo restart", RESTART),
    "spaces": ("printf '  exit \\t\\n'", 0),
    "bytes": ("printf '\\377\\376\\000 continue'", None),
    "long": ("head -c 1000000 /dev/zero", None),
    "on-stderr": ("echo exit >&2", None),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_any_output_of_the_script_is_accepted(cloud, host, case):
    script, status = OUTPUTS[case]
    device = host(script)
    cloud.publish(IMAGE, "1.0.1")
    device.start()
    if status is None:
        device.until("CONFIRMED 1.0.1")
    else:
        assert device.ended() == status
        device.start().until("CONFIRMED 1.0.1")


# ---- failures of the script


@pytest.mark.sweep
@pytest.mark.parametrize("script,detail", [
    ("exit 3", "status 3"), pytest.param("kill -9 $$", "status 137", marks=pytest.mark.sweep),
    pytest.param("echo continue; exit 1", "status 1", marks=pytest.mark.sweep),
])  # fmt: skip
def test_failing_script_is_run_three_times(cloud, host, script, detail):
    device = host(keep(script))
    cloud.publish(IMAGE, "1.0.1")
    device.start()
    told = device.reported("failed")
    assert ("failed", "script_failed", 3) in told and "confirmed" not in [state for state, _, _ in told]
    assert kept(device) == [IMAGE] * 3
    for _ in range(3):
        device.until("FAILED script_failed")
    assert detail in device.console and device.console.count("FAILED script_failed") == 3
    device.script(keep())
    cloud.publish(IMAGE[::-1], "1.0.2")
    device.until("CONFIRMED 1.0.2")
    assert device.reported("confirmed", "1.0.2")[-1] == ("confirmed", "", 1) and len(kept(device)) == 4


@pytest.mark.sweep
def test_missing_or_not_executable_script_fails_the_update(cloud, host):
    device = host(attempts=1)
    script = device.folder / "scripts/update"
    script.chmod(0o644)
    cloud.publish(IMAGE, "1.0.1")
    device.start()
    assert ("failed", "script_failed", 1) in device.reported("failed")
    script.unlink()
    cloud.publish(IMAGE[::-1], "1.0.2")
    assert ("failed", "script_failed", 1) in device.reported("failed", "1.0.2")


def test_script_beside_ioto_json_is_found(cloud, host):
    device = host(keep(), script="install.sh")
    cloud.publish(IMAGE, "1.0.1")
    device.start().until("CONFIRMED 1.0.1")
    assert kept(device) == [IMAGE]


def alive(pid):
    try:
        os.kill(pid, 0)
        return True
    except ProcessLookupError:
        return False


@pytest.mark.sweep
def test_hanging_script_is_killed_before_the_next_attempt(cloud, host):
    device = host("echo $$ >> pids; exec sleep 60", limit=1, attempts=2)
    cloud.publish(IMAGE, "1.0.1")
    device.start()
    told = device.reported("failed")
    pids = [int(pid) for pid in (device.root / "pids").read_text().split()]
    try:
        assert ("failed", "script_failed", 2) in told and len(pids) == 2
        assert not alive(pids[0]) and not alive(pids[1])
    finally:
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)


def test_offer_during_the_script_leaves_its_file_unchanged(cloud, host):
    """A check-in begins before the script, and its reply, with another offer, arrives while the script runs.

    The version that the script installed is confirmed.
    """
    device = host(keep('touch began; sleep 2; cp "$1" kept.after; echo continue'), before=WAITS)
    cloud.publish(IMAGE, "1.0.1")
    device.start().until("STAGED")

    async def meanwhile():
        cloud.publish(IMAGE[::-1], "1.0.2")
        (device.root / "go").touch()
        while not (device.root / "began").exists():
            await asyncio.sleep(0.01)

    cloud.meanwhile = meanwhile
    device.until("CONFIRMED 1.0.1")
    assert (device.root / "kept.after").read_bytes() == IMAGE
    device.until("CONFIRMED 1.0.2")


def test_agent_continues_if_the_outcome_cannot_be_written(cloud, host):
    """The record cannot be written after the script has ended."""
    device = host(keep("rm state/record.*; mkdir state/record.0 state/record.1; echo continue"))
    cloud.publish(IMAGE, "1.0.1")
    device.start().until("CONFIRMED 1.0.1")
    device.reported("confirmed")
    device.script(keep())
    for n in (0, 1):
        (device.root / ("state/record.%d" % n)).rmdir()
    cloud.publish(IMAGE[::-1], "1.0.2")
    device.until("CONFIRMED 1.0.2")
    assert kept(device) == [IMAGE, IMAGE[::-1]]


@pytest.mark.sweep
@pytest.mark.parametrize(
    "spoil", [": > update.bin.status; sleep 1", "mkdir update.bin.status.new"], ids=["empty", "none"]
)
def test_agent_continues_if_the_status_of_the_script_cannot_be_written(cloud, host, spoil):
    device = host(spoil + "; echo continue", limit=2, attempts=1)
    cloud.publish(IMAGE, "1.0.1")
    device.start()
    told = device.reported("confirmed" if "sleep" in spoil else "failed")
    assert "sleep" in spoil or ("failed", "script_failed", 1) in told
    assert device.process.poll() is None and "exception" not in device.console


# ---- the first start of the new software


@pytest.mark.parametrize("test,reason", [("False", "selftest_failed"), ("1 // 0", "selftest_failed")])
def test_failed_self_test_is_reported_and_the_agent_keeps_running(cloud, host, test, reason):
    device = host("echo restart", before=SELFTEST % test)
    cloud.publish(IMAGE, "1.0.1")
    assert device.start().ended() == RESTART
    device.start()
    assert ("failed", reason, 1) in device.reported("failed")
    cloud.site.clock = lambda: time.time() + 3600  # the cloud offers it again, but the device refuses it
    device.until("failed_before")
    assert device.console.count("ROLLBACK") == 1
    cloud.publish(IMAGE[::-1], "1.0.2")  # an update that may fix the fault
    assert device.ended() == RESTART and "Traceback" not in device.console


# ---- killed processes


def test_download_resumes_after_a_kill(cloud, host):
    image = random.Random(2).randbytes(400_000)
    device = host(keep(), throttle=20)
    cloud.publish(image, "1.0.1")
    done = int(device.start().until("PROGRESS 131072").split()[1])
    device.kill()
    device.start().until("CONFIRMED 1.0.1")
    assert kept(device) == [image]
    first, second = cloud.downloads()
    begun = int(second[len("bytes=") : -1])
    assert first == "" and done <= begun <= done + 65536, second


@pytest.mark.parametrize("harm", ["removed", "emptied"])
def test_download_restarts_if_its_file_was_removed_or_emptied(cloud, host, harm):
    image = random.Random(2).randbytes(400_000)
    device = host(keep(), throttle=20)
    cloud.publish(image, "1.0.1")
    device.start().until("PROGRESS 131072")
    device.kill()
    damage_file(device.folder / "update.bin", harm)
    device.start().until("CONFIRMED 1.0.1")
    assert kept(device) == [image]


def test_changed_file_of_a_resumed_download_costs_a_delay(cloud, host):
    """Only the hash of the whole file shows the change; the next download starts from the beginning."""
    device = host(keep(), throttle=20)
    cloud.publish(random.Random(2).randbytes(400_000), "1.0.1")
    device.start().until("PROGRESS 131072")
    device.kill()
    damage_file(device.folder / "update.bin", "changed")
    device.start().until("FAILED checksum_mismatch")
    device.becomes(
        lambda record: (record["phase"], record["attempt"], record["update"].get("lost")) == ("download", 1, 1)
    )
    assert kept(device) == []


def damage_file(path, harm):
    if harm == "removed":
        path.unlink()
    elif harm == "emptied":
        path.write_bytes(b"")
    else:
        content = bytearray(path.read_bytes())
        content[5000] ^= 1
        path.write_bytes(content)


@pytest.mark.parametrize("harm", ["removed", "emptied", "changed"])
def test_changed_staged_file_is_downloaded_again(cloud, host, harm):
    device = host(keep(), apply="never")
    cloud.publish(IMAGE, "1.0.1")
    device.start().until("info staged 1.0.1")
    device.kill()
    damage_file(device.folder / "update.bin", harm)
    config = device.folder / "ioto.json"
    config.write_text(config.read_text().replace('"never"', '"anytime"'))
    device.start().until("CONFIRMED 1.0.1")
    assert kept(device) == [IMAGE] and len(cloud.downloads()) == 2


def test_script_runs_again_after_a_kill(cloud, host):
    device = host(keep("echo $$ > pid.new; mv pid.new pid; exec sleep 60"))
    cloud.publish(IMAGE, "1.0.1")
    device.start().until("DEVICE:UPDATE 1.0.1 1")
    pid = device.root / "pid"
    limit = time.monotonic() + 10
    while not pid.exists():
        assert time.monotonic() < limit
        time.sleep(0.01)
    device.kill()
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert device.record()["phase"] == "trial"
    device.script(keep())
    device.start().until("CONFIRMED 1.0.1")
    assert device.reported("confirmed")[-1] == ("confirmed", "", 2) and kept(device) == [IMAGE] * 2


# ---- the file


def without_slot_size(app):
    """The cloud `app`, from which the device's `slotSize` is hidden: it also offers files larger than the slot."""

    async def asked(scope, receive, send):
        async def heard():
            message = await receive()
            return dict(message, body=message.get("body", b"").replace(b'"slotSize"', b'"slotsize"'))

        await app(scope, heard, send)

    return asked


def test_file_larger_than_slot_size_is_refused_before_writing(cloud, host):
    cloud.app = without_slot_size(cloud.app)
    device = host(slotSize=65536)
    (device.folder / "update.bin").write_bytes(b"as it was")
    cloud.publish(IMAGE, "1.0.1")
    device.start()
    assert device.reported("refused")[-1][:2] == ("refused", "size_too_large")
    assert (device.folder / "update.bin").read_bytes() == b"as it was"


def test_file_that_cannot_be_written_fails_the_update(cloud, host):
    device = host(slot="no/such/folder/update.bin", attempts=1)
    cloud.publish(IMAGE, "1.0.1")
    device.start()
    assert ("failed", "flash_failed", 1) in device.reported("failed")
    assert device.process.poll() is None


# ---- memory


def test_update_in_256_kib_of_heap(cloud, host):
    image = random.Random(3).randbytes(1_640_800)
    device = host(keep(), heap="256k")
    cloud.publish(image, "1.0.1")
    device.start()
    used = {}
    while len(used) < 2:
        _, done, allocated = device.until("PROGRESS").split()
        if int(done) // 4096 in (8, 400):
            used[int(done) // 4096] = int(allocated)
    device.until("CONFIRMED 1.0.1")
    assert kept(device) == [image]
    print("heap in use after block 8: %d bytes, after block 400: %d" % (used[8], used[400]))
    assert used[400] <= used[8] + 256, used
