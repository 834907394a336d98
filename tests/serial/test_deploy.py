"""`ioto deploy`, `ioto board info` and `ioto board log` at the virtual board's serial port."""

import json
import os
import pty
import subprocess
import sys
import time

import pytest
import serial
from click.testing import CliRunner
from ioto_command import BIN, board, command, running
from ioto_tools.cli import main as cli
from ioto_tools.cloud.site import certificates
from ioto_tools.deploy import board_info, copy_files, prompt
from ioto_tools.deploy.device_files import create_folder, device_files
from ioto_tools.image import keys
from ioto_tools.virtual_board import Board


def deploy(port, folder, *words):
    return command("ioto", "deploy", port, "--folder", folder, *words)


def files_of(flash):
    board = Board(flash)
    found = board.files()
    board.close()
    return found


@pytest.mark.sweep
def test_only_changed_files_are_copied(port, folder, flash):
    first = deploy(port, folder)
    assert first.returncode == 0 and "0 files copied" in first.stdout, first.stderr
    with open(folder / "main.py", "a") as f:
        f.write("# changed\n")
    (folder / "data").mkdir()
    (folder / "data" / "table.csv").write_text("1,2\n")
    looked = deploy(port, folder, "--dry-run")
    assert "copy   main.py" in looked.stdout and "nothing was changed" in looked.stdout
    assert not files_of(flash)["main.py"].endswith(b"# changed\n")
    done = deploy(port, folder)
    assert "2 files copied" in done.stdout, done.stdout + done.stderr
    found = files_of(flash)
    assert found["main.py"].endswith(b"# changed\n") and found["data/table.csv"] == b"1,2\n"
    assert not any(name.startswith("deploy.new") for name in found)
    assert "0 files copied" in deploy(port, folder).stdout


@pytest.mark.sweep
def test_a_file_that_was_changed_on_the_board_is_kept(port, folder, flash):
    command("mpremote", "connect", port, "exec", "f = open('main.py', 'a')\nf.write('# mine\\n')\nf.close()")
    with open(folder / "main.py", "a") as f:
        f.write("# theirs\n")
    result = deploy(port, folder)
    assert (
        result.returncode == 0
        and "1 kept" in result.stdout
        and "-# mine" in result.stderr
        and "+# theirs" in result.stderr
    )
    assert files_of(flash)["main.py"].endswith(b"# mine\n")
    assert "copy   main.py" in deploy(port, folder, "--force").stdout
    assert files_of(flash)["main.py"].endswith(b"# theirs\n")


BREAK_AGENT = """
for name in "lib/ioto/plan.py", "lib/ioto/parts.bin":
    with open(name, "w") as f:
        f.write("broken")
"""


@pytest.mark.sweep
def test_a_broken_agent_is_replaced_and_old_files_removed(port, folder, flash):
    command("mpremote", "connect", port, "exec", BREAK_AGENT)
    result = deploy(port, folder)
    assert "remove lib/ioto/plan.py" in result.stdout and "copy   lib/ioto/parts.bin" in result.stdout, result.stderr
    assert "lib/ioto/plan.py" not in files_of(flash)
    assert command("mpremote", "connect", port, "exec", "import ioto.start").returncode == 0


@pytest.mark.sweep
def test_record_and_provision_are_kept(port, folder, flash):
    before = {n: raw for n, raw in files_of(flash).items() if n.startswith("state/")}
    (folder / "state").mkdir()
    (folder / "state" / "provision.json").write_text("{}")
    assert deploy(port, folder).returncode == 0
    after = files_of(flash)
    assert "state/provision.json" not in after and all(n in after for n in before)


@pytest.mark.sweep
def test_a_full_file_system_changes_nothing(port, folder, flash):
    (folder / "big.bin").write_bytes(bytes(900_000))
    (folder / "main.py").write_text("print('new')\n")
    result = deploy(port, folder)
    assert result.returncode == 1 and "bytes free, but 2 files need" in result.stderr
    assert b"print('new')" not in files_of(flash)["main.py"]


@pytest.mark.sweep
def test_the_application_runs_again_after_a_refusal(flash, folder):
    it = Board(flash)
    it.write_files({"main.py": b"import time\nwhile True:\n    print('tick')\n    time.sleep_ms(100)\n"})
    it.close()
    (folder / "big.bin").write_bytes(bytes(900_000))
    with board(flash) as port:
        assert "bytes free" in deploy(port, folder, "--force").stderr
        with serial.Serial(port, timeout=30) as line:
            assert line.read_until(b"tick\r\n").endswith(b"tick\r\n")


@pytest.mark.sweep
def test_the_size_of_folders_is_counted(port, folder, flash):
    """Each folder takes two blocks on littlefs; nothing is copied unless everything fits."""
    for n in range(60):
        (folder / ("d%d" % n)).mkdir()
        (folder / ("d%d" % n) / "x.txt").write_text("x")
    result = deploy(port, folder)
    assert result.returncode == 1 and "bytes free, but 60 files need" in result.stderr
    assert not any(name.startswith("d0/") for name in files_of(flash))


@pytest.mark.sweep
def test_space_for_the_agents_state_is_left(flash, folder):
    """Otherwise the board could not start. A deploy that takes no more space than before is not refused."""
    it = Board(flash)
    it.write_files({"ballast.bin": bytes(600_000)})
    it.close()
    with board(flash) as port, prompt.Prompt(port) as it:
        files, free = device_files(folder), it.run_json(copy_files._FILES % ((), "lib/ioto/", "state"))["free"]
        files.pop(copy_files.HASHES)
        fits = free - copy_files.STATE_BYTES - 40_000
        assert set(copy_files.plan(it, files | {"more.bin": bytes(fits)}).write) == {"more.bin"}
        with pytest.raises(copy_files.CopyError, match="free afterwards, but the agent's state needs 49152: remove"):
            copy_files.plan(it, files | {"more.bin": bytes(fits + 40_000)})
        copy_files.apply(it, copy_files.plan(it, files | {"more.bin": bytes(fits)}))
        it.run("f = open('fill.bin', 'wb')\nfor _ in range(8):\n    f.write(bytes(4096))\nf.close()")
        smaller = files | {"more.bin": bytes(fits - 9000), "main.py": b"x" * 4000}
        assert set(copy_files.plan(it, smaller, force=True).write) == {"main.py", "more.bin"}


FILL = """
try:
    with open("big", "wb") as f:
        while True:
            f.write(b"x" * 4096)
            f.flush()
except OSError as e:
    print(e.errno)
"""


@pytest.mark.sweep
def test_a_file_system_that_fills_up_during_the_copy(folder, flash):
    """Nothing is changed, and the files copied so far are removed."""
    it = Board(flash)
    it.write_files({"ballast.bin": bytes(540_000)})  # otherwise it takes a long time to fill the file system
    it.close()
    files = device_files(folder)
    files.update({"main.py": b"print('new')\n" * 600, "more.bin": bytes(20_000)})
    with board(flash) as port, prompt.Prompt(port) as it:
        made = copy_files.plan(it, files)
        assert set(made.write) == {"main.py", "more.bin"}
        assert it.run(FILL, 60).strip() == "28"
        with pytest.raises(prompt.PromptError, match="the board reports: OSError: .*28"):
            copy_files.apply(it, made)
    found = files_of(flash)
    assert b"print('new')" not in found["main.py"] and not any(name.startswith(copy_files.STAGING) for name in found)


@pytest.mark.sweep
def test_a_negative_number_of_free_blocks_counts_as_none(folder, flash):
    """littlefs counts some blocks twice, so the number of free blocks can be negative: MicroPython wraps it around."""
    it = Board(flash)
    it.write_files({"ballast.bin": bytes(700_000)})
    with pytest.raises(ValueError, match="does not fit"):
        for n in range(99):
            it.write_files({"more%d.bin" % n: bytes(1000)})
    it.close()
    with board(flash) as port, prompt.Prompt(port) as it:
        assert int(it.run("import os; print(os.statvfs('/')[3])", 20)) > 208
        with pytest.raises(copy_files.CopyError, match="has 0 bytes free"):
            copy_files.plan(it, {**device_files(folder), "main.py": bytes(9000)})
    with board(flash) as port:
        assert json.loads(command("ioto", "board", "info", port, "--json").stdout)["files"]["free"] == 0


@pytest.mark.sweep
def test_ports_without_a_board(tmp_path, folder, monkeypatch):
    result = deploy("/dev/ttyNOWHERE", folder)
    assert result.returncode == 1 and "there is no such port: is the board plugged in" in result.stderr
    monkeypatch.setattr(prompt, "_ANSWER_S", 0.5)  # instead of ten seconds
    master, slave = pty.openpty()
    with (
        pytest.raises(prompt.PromptError, match="no MicroPython prompt there. Is it the right port"),
        prompt.Prompt(os.ttyname(slave)),
    ):
        pass
    os.close(master)
    os.close(slave)


@pytest.mark.sweep
def test_a_port_that_is_busy_is_refused(port, folder, flash):
    """Each of two programs at one port would read bytes that are meant for the other one."""
    (folder / "main.py").write_text("print('new')\n")
    with serial.Serial(port, 115200, exclusive=True):
        result = deploy(port, folder, "--force")
        assert result.returncode == 1 and "another program uses it" in result.stderr
        result = command("ioto", "board", "log", port)
        assert result.returncode == 1 and "another program uses it" in result.stderr
    assert b"print('new')" not in files_of(flash)["main.py"]


@pytest.mark.sweep
def test_an_older_micropython_is_refused(port, folder, monkeypatch):
    monkeypatch.setattr(prompt, "MIN_MICROPYTHON", (99, 0))
    with (
        pytest.raises(prompt.PromptError, match=r"the agent needs 99\.0 or later: `ioto flash`"),
        prompt.Prompt(port) as board,
    ):
        board.identify()


@pytest.mark.sweep
@pytest.mark.parametrize("version", [7, pytest.param(0, marks=pytest.mark.sweep)])
def test_a_micropython_with_another_mpy_version_is_refused(port, folder, flash, monkeypatch, version):
    """A MicroPython without support for .mpy files is refused, too.

    Otherwise, files that can't be loaded would replace the agent.
    """
    monkeypatch.setattr(prompt, "_IDENTIFY", prompt._IDENTIFY.replace('getattr(i, "_mpy", 0) & 255', str(version)))
    before = files_of(flash)
    result = CliRunner().invoke(cli, ["deploy", port, "--folder", str(folder), "--force"])
    wanted = ".mpy is a .mpy file of version 6, but this MicroPython loads %s: use --source for .py files" % (
        version or "none"
    )
    assert result.exit_code == 1 and wanted in result.stderr, result.output
    assert {n: raw for n, raw in files_of(flash).items() if "state/" not in n} == {
        n: raw for n, raw in before.items() if "state/" not in n
    }


@pytest.mark.sweep
def test_info_describes_the_board(port, flash):
    result = command("ioto", "board", "info", port)
    assert (
        result.returncode == 0
        and "otadata    1/VALID -" in result.stdout
        and "version    1.0.0 of product P1, phase idle" in result.stdout
    ), result
    result = command("ioto", "board", "info", port, "--json")
    assert result.returncode == 0, result
    found = json.loads(result.stdout)
    assert (
        found["running"] == "ota_0"
        and found["slots"][1]["image"] is None
        and found["windows"]["update.schedule"]["open"] in (True, False)
    )


@pytest.mark.sweep
def test_info_of_a_board_with_authorities_and_keys(flash, folder, tmp_path):
    """The settings name files, as in the README, and the agent checks these files."""
    certificates.make(tmp_path / "tls", ["cloud.test"])
    private = keys.create(tmp_path / "release.pem", b"")
    keys.create_file(tmp_path / "release.pub.pem", keys.public_bytes(private.public_key()), 0o644)
    settings = {"product": "P1", "builder": "https://cloud.test"}
    create_folder(tmp_path / "signed", settings, [tmp_path / "tls" / "ca.pem"], [tmp_path / "release.pub.pem"])
    it = Board(flash)
    it.write_files(device_files(tmp_path / "signed"))
    it.close()
    with board(flash) as port:
        result = command("ioto", "board", "info", port)
        assert (
            result.returncode == 0
            and "version    1.0.0 of product P1, phase idle" in result.stdout
            and "settings" not in result.stdout
        ), result
        command("mpremote", "connect", port, "exec", "import os; os.remove('release.pub.pem')")
        result = command("ioto", "board", "info", port)
    assert "settings   ioto.json: update.keys" in result.stdout, result


def test_info_writes_no_file_outside_of_its_own_folder(tmp_path):
    """The settings of a board can name any path."""
    files = {"ioto.json": b'{"a": ["../../x", "/etc/y", "@certs/z.pem"], "b": {"c": "k.pem"}}'}
    assert board_info._named(files) == ["certs/z.pem", "etc/y", "k.pem"]


def test_log_prints_the_output_without_interrupting(flash):
    it = Board(flash)
    it.write_files({"main.py": b"import time\nfor i in range(1000):\n    print('tick', i)\n    time.sleep_ms(100)\n"})
    it.close()
    with board(flash) as port:
        follower = subprocess.Popen([BIN / "ioto", "board", "log", port], stdout=subprocess.PIPE, text=True)
        seen = [int(follower.stdout.readline().split()[1]) for _ in range(5)]
        follower.kill()
        follower.communicate()
    assert seen == list(range(seen[0], seen[0] + 5))


UNPLUGGED = """
import sys
from ioto_tools.virtual_board import Board
from ioto_tools.cli import main as cli
from ioto_tools.virtual_board.serial import Serial

class Cable(Serial):
    left = int(sys.argv[2])
    def receive(self):
        before = len(self.typed)
        interrupted = super().receive()
        self.left -= len(self.typed) - before
        if self.left < 0:
            self.unplug()
        return interrupted

cable = Cable()
print(cable.path, flush=True)
Board(sys.argv[1], real_time=True).run(until_s=60, serial=cable)
"""


@pytest.mark.sweep
@pytest.mark.parametrize(
    "after", [7000, 14000] + [pytest.param(n, marks=pytest.mark.sweep) for n in (400, *range(1000, 26000, 1700), 26000)]
)
def test_a_cable_unplugged_during_the_copy_leaves_whole_files(flash, folder, after):
    """Each file has its old or its new content, never a part; the next deploy copies the rest."""
    old = files_of(flash)
    new = {"main.py": b"print('new')\n" * 300, "lib/app.py": b"x = 1\n" * 700, "boot.py": old["boot.py"] + b"# new\n"}
    for name, raw in new.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(raw)
    with running(sys.executable, "-c", UNPLUGGED, flash, after) as port:
        result = deploy(port, folder)
        time.sleep(0.2)
    found = files_of(flash)
    for name, raw in new.items():
        assert found.get(name) in (old.get(name), raw), (after, name)
    if result.returncode:
        assert "connection was lost" in result.stderr or "no MicroPython prompt" in result.stderr, result.stderr
    else:
        assert after > sum(map(len, new.values())) and all(found[name] == raw for name, raw in new.items())
    with board(flash) as port:
        assert deploy(port, folder, "--force").returncode == 0
    found = files_of(flash)
    assert all(found[name] == raw for name, raw in new.items()) and not any(n.startswith("deploy.new") for n in found)
