"""`package.json` lists all of lib/ioto, so that mip on a device and mpremote on a computer install it."""

import functools
import json
import subprocess
import sys
import threading
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import ioto
import pytest

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1] / "support"))
from ioto_command import BIN, command

ROOT = Path(__file__).parents[2]
MODULES = {
    path.relative_to(ROOT / "lib").as_posix(): path.read_bytes()
    for path in sorted((ROOT / "lib" / "ioto").glob("*.py"))
}
WANTED = {"urls": [[name, "lib/" + name] for name in MODULES], "deps": [], "version": ioto.__version__}


FEW = ("ioto/__init__.py", "ioto/archive.py", "ioto/log.py", "ioto/semver.py", "ioto/watch.py")


class Sources(SimpleHTTPRequestHandler):
    """Serves the sources as GitHub does, and few.json, a package.json of a few modules."""

    def do_GET(self):
        if self.path != "/few.json":
            return super().do_GET()
        few = dict(WANTED, urls=[pair for pair in WANTED["urls"] if pair[0] in FEW])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(few).encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def site():
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Sources, directory=ROOT)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "http://127.0.0.1:%d" % server.server_address[1]
        server.shutdown()


def test_it_lists_every_module():
    wanted = "package.json has another list of modules: write it with `python tests/serial/test_package.py`"
    assert json.loads((ROOT / "package.json").read_text()) == WANTED, wanted


def test_mip_installs_all_that_a_program_needs(site, tmp_path):
    """The mip of micropython-lib, as built into the unix port."""
    micropython = str(BIN / "micropython")
    done = subprocess.run(
        [micropython, "-m", "mip", "install", "--target", tmp_path, site + "/package.json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "Done" in done.stdout, done.stdout + done.stderr
    assert {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.py")} == MODULES
    program = (
        "import sys; sys.path.insert(0, %r); from ioto.start import agent; import ioto; print(ioto.__version__)"
        % str(tmp_path)
    )
    assert (
        subprocess.run([micropython, "-c", program], capture_output=True, text=True).stdout == ioto.__version__ + "\n"
    )


@pytest.mark.sweep
@pytest.mark.parametrize("name", ["few.json", pytest.param("package.json", marks=pytest.mark.sweep)])
def test_mpremote_installs_it_on_a_board(site, bare, name):
    """Copying all 180 KB through the prompt takes 15 s, most of which is waiting."""
    done = command("mpremote", "connect", bare, "mip", "install", "%s/%s" % (site, name), limit_s=120)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = (
        "import os, hashlib\nfor n in sorted(os.listdir('/lib/ioto')):\n print(n, "
        "hashlib.sha256(open('/lib/ioto/' + n, 'rb').read()).digest())"
    )
    wanted = FEW if name == "few.json" else MODULES
    result = command("mpremote", "connect", bare, "exec", asked).stdout.splitlines()
    assert result == ["%s %r" % (Path(each).name, sha256(MODULES[each]).digest()) for each in wanted]
    assert (
        command("mpremote", "connect", bare, "exec", "import ioto; print(ioto.__version__)").stdout
        == ioto.__version__ + "\n"
    )


@pytest.fixture
def bare(tmp_path):
    """The serial port of a board with MicroPython only."""
    from ioto_command import board
    from ioto_tools.image import esp
    from ioto_tools.virtual_board import Board

    path = tmp_path / "board.flash"
    Board.create(path, esp.make_image(8192, "hello"), {}, flash_bytes=1 << 20, slot_bytes=0x10000).close()
    with board(path) as port:
        yield port


if __name__ == "__main__":
    urls = ",\n".join("        " + json.dumps(pair) for pair in WANTED["urls"])
    (ROOT / "package.json").write_text(
        '{\n    "urls": [\n%s\n    ],\n    "deps": [],\n    "version": "%s"\n}\n' % (urls, WANTED["version"])
    )
