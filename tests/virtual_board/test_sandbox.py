"""The sandbox: a program on a virtual board, maybe from an untrusted flash file, has no access to this machine."""

import ctypes
import errno
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from ioto_tools.image import esp
from ioto_tools.virtual_board import Board, sandbox

pytestmark = pytest.mark.skipif(not sandbox.available(), reason="needs Linux on x86-64 or AArch64")
OF_PROBES = (335, 336)  # uretprobe, uprobe: newer kernels handle them before any filter, and only for their own code
ATTACK = """
import sys, vfs
for name in ("os", "socket", "select", "time", "machine", "errno", "micropython", "_bus"):
    sys.modules.pop(name, None)  # from now on these names import modules of the unix port
sys.path[:] = [".frozen"]
import os, machine, select, socket, uctypes
host = vfs.VfsPosix("/")
def attempt(name, f):
    try:
        print("GOT", name, repr(f())[:80])
    except Exception as e:
        print("refused", name, e)
def shell():
    if os.system("touch HERE/pwned") == 0:
        return True
    raise OSError("no shell")
def connect():
    s = socket.socket()
    s.connect(socket.getaddrinfo("127.0.0.1", PORT)[0][-1])
    return s
attempt("shell", shell)
attempt("environment", lambda: os.getenv("SECRET") or 1 // 0)
attempt("read", lambda: host.open("/etc/passwd", "r").read(20))
attempt("own flash", lambda: host.open("FLASH", "r+b"))
attempt("write", lambda: host.open("HERE/pwned", "w"))
attempt("list", lambda: list(host.ilistdir("/")))
attempt("stat", lambda: host.stat("/etc/passwd"))
attempt("mkdir", lambda: host.mkdir("HERE/pwned"))
attempt("remove", lambda: host.remove("HERE/kept"))
attempt("rename", lambda: host.rename("HERE/kept", "HERE/pwned"))
attempt("statvfs", lambda: host.statvfs("/"))
attempt("connect", connect)
attempt("lookup", lambda: socket.getaddrinfo("localhost", 80) and connect())
attempt("memory device", lambda: machine.mem32[0x400000])
attempt("descriptors", lambda: [open(n, "rb") and open(n, "rb").read(1) for n in range(30, 40)])
attempt("library", lambda: __import__("ffi").open("libc.so.6"))
print("COMPUTES", sum(range(10)), len(bytearray(100000)))
"""
FINE = """
import os, _thread, time
@micropython.viper
def twice(x: int) -> int:
    return x + x
print("machine code", twice(21))
_thread.start_new_thread(print, ("in a thread",))
time.sleep(1)
print(sorted(name for name in dir(os) if name in ("system", "getenv", "putenv", "unsetenv", "listdir")))
"""


def board(folder, main):
    return Board.create(
        folder / "b.flash",
        esp.make_image(8192, "app"),
        {"main.py": main.encode()},
        flash_bytes=1 << 20,
        slot_bytes=0x10000,
    )


def test_a_program_with_the_ports_own_modules_reaches_nothing(tmp_path, monkeypatch):
    import socket

    monkeypatch.setenv("SECRET", "of the operator")
    (tmp_path / "kept").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as server:
        main = (
            ATTACK.replace("PORT", str(server.getsockname()[1]))
            .replace("HERE", str(tmp_path))
            .replace("FLASH", str(tmp_path / "b.flash"))
        )
        console = board(tmp_path, main).run(until_s=5).console
    assert "GOT" not in console and console.count("refused") == ATTACK.count("\nattempt("), console
    assert "COMPUTES 45 100000" in console
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.flash", "kept"]


def test_ordinary_programs_still_work(tmp_path):
    console = board(tmp_path, FINE).run(until_s=5).console
    assert "machine code 42" in console and "in a thread" in console and "['listdir']" in console, console


def test_an_unknown_operation_resets_the_board(tmp_path):
    run = board(tmp_path, "import _bus\n_bus.call(999)\n").run(max_boots=2)
    assert run.slots == ["ota_0", "ota_0"] and run.ended == "boots"


def test_the_kernel_refuses_every_call_that_is_not_in_the_list():
    """The test makes all system calls by number, as machine code could, and clone() for a process, not a thread."""
    column = 0 if platform.machine() == "x86_64" else 1
    allowed = {numbers[column] for numbers in sandbox._CALLS.values()}
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        libc = ctypes.CDLL(None, use_errno=True)
        sandbox.restrict_process()
        clone, clone3 = sandbox._CLONE[column], sandbox._CLONE3[column]
        calls = [(n, 0) for n in range(1000) if n not in allowed and n not in OF_PROBES] + [
            (clone, 17),
            (clone, 0x4111),
            (0x40000000, 0),
        ]
        wrong = []
        for n, first in calls:
            ctypes.set_errno(0)
            found = libc.syscall(n, first, 0, 0, 0, 0, 0), ctypes.get_errno()
            if found != (-1, errno.ENOSYS if n == clone3 else errno.EPERM):
                wrong.append((n, found))
        os.write(write, repr(wrong).encode())
        os._exit(0)
    os.close(write)
    with open(read) as f:
        assert f.read() == "[]"
    os.waitpid(pid, 0)


def descendants(pid):
    for child in Path("/proc/%d/task/%d/children" % (pid, pid)).read_text().split():
        yield int(child)
        yield from descendants(int(child))


def memory(pid):
    """All memory that a process can read of itself."""
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as mem:
        for line in maps:
            first, last = (int(n, 16) for n in line.split()[0].split("-"))
            if line.split()[1][0] == "r" and "[v" not in line:
                mem.seek(first)
                yield mem.read(last - first)


def test_no_secret_of_the_operator_is_in_its_memory(tmp_path):
    """A program can read the memory of its own process, which must not contain passwords from the environment."""
    board(tmp_path, "print('computing')\nwhile True:\n    pass\n").close()
    words = [Path(sys.executable).parent / "ioto", "board", "run", tmp_path / "b.flash"]
    env = dict(os.environ, IOTO_PASSPHRASE="the very secret of the operator")
    running = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env)
    assert any("computing" in line for line in running.stdout)
    cpu = list(descendants(running.pid))[-1]
    status = Path("/proc/%d/status" % cpu).read_text()
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    seen = sum(1 for piece in memory(cpu) if b"computing" in piece)
    found = [piece for piece in memory(cpu) if b"the very secret" in piece]
    running.kill()
    running.communicate()
    assert seen and not found
