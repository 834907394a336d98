"""Measure the GC heap of the shipped agent: for each file, for a start, a check-in and a signed download."""

import ast
import base64
import functools
import hashlib
import io
import json
import random
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from ioto_tools.cloud.site import certificates
from ioto_tools.deploy.agent_build import agent_files, agent_sources, bundled_files, compile_module
from ioto_tools.deploy.agent_build import compiled_files as shipped
from ioto_tools.image import esp, keys, release
from ioto_tools.image.pack import pack

from .mpy import functions

HERE = Path(__file__).parent
PORT = HERE.parent.parent / ".build/meter/node_modules/@micropython/micropython-webassembly-pyscript/micropython.mjs"
MISSING = (
    ""
    if shutil.which("node") and PORT.is_file()
    else "Node.js or its MicroPython is not here: apt-get install nodejs npm, then make meter"
)
START = ["from ioto.start import agent", "import ioto.agent", "made = agent()", "turns.begin(made)"]
RESIDENT = ("__init__.mpy", "start.mpy", "agent.mpy")  # loaded once; all others are released
_POST, _GET = 1, 2  # as in chip/socket.py
_BLOCKS = 12


@dataclass
class Part:
    """The heap of one file, in bytes."""

    file_bytes: int
    live: int  # added by its import
    garbage: int  # left by its import
    stays: int  # after its release


@dataclass
class Span:
    """The heap during some turns of the event loop, in bytes."""

    live: int  # maximum between two turns
    most: int  # the same, with everything that a turn allocated, including garbage


@dataclass
class Life:
    base: int  # the interpreter with its own modules, before the agent
    imported: int  # live bytes of the agent, after main.py's import
    garbage: int  # maximum between two collections, before the agent's first network request
    idle: int  # live bytes of the agent with its objects, at rest
    check_in: Span
    download: Span
    console: list


def run(files, agent=None, **case):
    """Run meter.mjs with `files` beside the agent; return its result."""
    chip = {"/chip/" + file.name: file.read_bytes() for file in (HERE / "chip").glob("*.py")}
    agent = {"/" + path: content for path, content in (agent or agent_files()).items()}
    case["files"] = {path: base64.b64encode(raw).decode() for path, raw in {**chip, **agent, **files}.items()}
    done = subprocess.run(
        ["node", HERE / "meter.mjs", PORT], input=json.dumps(case), capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        raise RuntimeError("meter.mjs: " + "\n".join(line[:200] for line in done.stderr.splitlines()))
    return json.loads(done.stdout)


@functools.cache
def parts():
    """{file: Part} of the shipped agent.

    The files that main.py's import loads come first; the others are measured in addition to them.
    """
    names = {name: len(raw) for name, raw in shipped().items()}
    modules = ["ioto", "ioto.start", "ioto.agent"] + ["ioto." + name[:-4] for name in names if name not in RESIDENT]
    found = run({}, parts=modules)["parts"]
    return {
        file: Part(names[file], *numbers)
        for module, *numbers in found
        for file in [(module.partition(".")[2] or "__init__") + ".mpy"]
    }  # fmt: skip


@functools.cache
def _alone():
    """{module: live bytes} of each file, without the modules that it imports."""
    texts = {name: text for name, (text, _) in bundled_files().items()}
    done = []

    def add(name):
        if name in texts and name not in done:
            done.append(name)
            for node in ast.parse(texts[name]).body:
                if isinstance(node, ast.ImportFrom) and node.level:
                    for each in [node.module] if node.module else [alias.name for alias in node.names]:
                        add(each)
            done.remove(name)
            done.append(name)

    for name in ("__init__", *texts):
        add(name)
    found = run({}, keep=True, parts=["ioto" if name == "__init__" else "ioto." + name for name in done])["parts"]
    return {module: live for module, live, _, _ in found}


def modules():
    """{module: (bytes of its file, live bytes, bytes of bytecode)}, each compiled alone, without its imports."""
    agent = {name: compile_module(text, name + ".py") for name, text in agent_sources().items() if name != "linux"}
    done = []

    def add(name):
        if name in agent and name not in done:
            done.append(name)  # two modules may import each other
            for node in ast.parse(agent_sources()[name]).body:
                if isinstance(node, ast.ImportFrom) and node.level:
                    for each in [node.module] if node.module else [alias.name for alias in node.names]:
                        add(each)
            done.remove(name)
            done.append(name)

    add("__init__")
    for name in agent:
        add(name)
    files = {"lib/ioto/%s.mpy" % name: raw for name, raw in agent.items()}
    found = run({}, files, keep=True, parts=["ioto" if name == "__init__" else "ioto." + name for name in done])[
        "parts"
    ]
    return {
        name: (len(agent[name]), live, sum(functions(agent[name])))
        for name, (_, live, _, _) in zip(done, found, strict=True)
    }


@functools.cache
def _flash():
    """{path: bytes} of a configured device with a release key: files, slots, and the replies to its requests."""
    key = rsa.generate_private_key(65537, 3072)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificates.make(folder, ["cloud.test"])
        (folder / "image").write_bytes(esp.make_image(_BLOCKS * 4096 - 2048, "meter"))
        sealed = io.BytesIO()
        release.sign(folder / "image", sealed, key, "PRODUCT7", "1.0.1")
        image, ca = sealed.getvalue(), (folder / "ca.pem").read_bytes()
    config = {
        "product": "PRODUCT7", "version": "1.0.0", "api": "https://cloud.test", "token": "T" * 40,
        "tls": {"ca": "ca.pem"},
        "wifi": {"ssid": "net", "password": "secret"}, "update": {"keys": ["key.pem"], "jitter": 0, "throttle": 0},
    }  # fmt: skip
    offer = {
        "update": "U" * 26, "version": "1.0.1", "url": "https://cloud.test/image/1", "size": len(image),
        "checksum": hashlib.sha256(image).hexdigest(),
    }  # fmt: skip
    head = (
        "HTTP/1.1 200 OK\r\nDate: Fri, 15 Jan 2027 08:00:00 GMT\r\nContent-Type: "
        "application/json\r\nContent-Length: %d\r\n\r\n"
    )
    reply = lambda body: (head % len(body)).encode() + body
    empty = b"\xff" * 0x10000
    return {
        "/ioto.json": json.dumps(config, indent=4).encode(), "/device.json": b'{"id": "METER00001", "model": "meter"}',
        "/ca.pem": ca,
        "/key.pem": keys.public_bytes(key.public_key()), "/flash/ota_0": esp.make_image(8192, "running").ljust(0x10000,
        b"\xff"), "/flash/ota_1": empty,
        "/flash/otadata": empty[:8192], "/replies/get.1": reply(image),
        "/replies/post.1": reply(json.dumps(offer).encode()), **{"/replies/post.%d" % n: reply(b"{}") for n in range(2,
        9)},
    }  # fmt: skip


def unpacking():
    """(bytes of the shipped code, bytes of the decoder's objects), in addition to main.py's import."""
    rng = random.Random(1)
    base = rng.randbytes(40000)
    new = base[:9000] + rng.randbytes(9000) + bytes(byte ^ 1 for byte in base[9000:])
    sources = {name: text for name, text in agent_sources().items() if name != "linux"}
    agent = {"lib/ioto/%s.mpy" % name: compile_module(text, name + ".py") for name, text in sources.items()}
    found = run({"/delta": pack(new, base), "/base": base}, agent, parts=[], run=_UNPACKING)
    if found["console"] != ["%d blocks" % -(-len(new) // 4096)]:
        raise RuntimeError("not unpacked: %s" % found["console"])
    steps = [live for _, live, _ in found["imports"]]
    return parts()["unpack.mpy"].live, sum(steps[4:])


_UNPACKING = [
    "from ioto.start import agent",
    "import ioto.agent",
    "from ioto.unpack import Unpacker",
    """from ioto.packed import parse
delta, base, block = open("/delta", "rb"), open("/base", "rb"), memoryview(bytearray(4096))

def read_base(at, view):
    base.seek(at)
    base.readinto(view)

header = parse(delta.read(88))""",
    "unpacker = Unpacker(header, read_base)",
    """while unpacker.n * 4096 < unpacker.size:
    for view in unpacker.block(block[: min(4096, unpacker.size - unpacker.n * 4096)]):
        delta.readinto(view)""",
    "print(unpacker.n, 'blocks')",
]


@functools.cache
def life():
    """Measure from the start to a staged release."""
    found = run(_flash(), parts=[], alone=_alone(), run=START, seconds=100)
    turns = found["turns"]
    asked = [what for what, *_ in turns]
    silent = next((i for i, what in enumerate(asked) if what >= 0), len(asked))
    if _GET not in asked:
        raise RuntimeError("no download: %s" % found["console"])
    first, last = asked.index(_GET), len(asked) - asked[::-1].index(_GET)

    def span(some):
        return Span(max(max(before, after) for _, before, _, after, _ in some), max(top for _, _, top, _, _ in some))

    imports = found["imports"]
    garbage = [each[-1] for each in imports + turns[:silent]]
    return Life(
        found["base"], imports[0][1] + imports[1][1], max(garbage), turns[-1][3],
        span(turns[:first]), span(turns[first : last + 1]), found["console"],
    )  # fmt: skip


def figures():
    """{description: bytes} of life()."""
    found = life()
    code, decoder = unpacking()
    return {
        "the interpreter, with the modules that the agent imports": found.base,
        "resident after import": found.imported,
        "resident with its objects, at rest": found.idle,
        "live in a check-in": found.check_in.live,
        "  with all that one turn of it allocates, garbage too": found.check_in.most,
        "live in a download": found.download.live,
        "  with all that a turn of it allocates, garbage too": found.download.most,
        "garbage between two collections during the start": found.garbage,
        "while a packed file is decoded, in addition: its code": code,
        "  the decoder, with its buffers and windows": decoder,
    }  # fmt: skip
