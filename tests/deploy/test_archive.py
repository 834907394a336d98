"""Where MicroPython finds modules: in the agent's archive of compiled modules, in files, or built in."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ioto import archive
from ioto_tools.deploy.agent_build import agent_files, agent_sources, compile_module, compiled_files

MICROPYTHON = shutil.which("micropython", path=str(Path(sys.executable).parent)) or "micropython"
BESIDE = "import sys; sys.path.insert(0, 'lib')\n"


@pytest.fixture
def run(tmp_path):
    """run(program, files): the output of a program that runs in a folder with `files`, {path: bytes}."""

    def said(program, files):
        for name, raw in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(raw)
        done = subprocess.run(
            [MICROPYTHON, "-c", BESIDE + program], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        return done.stdout + done.stderr

    return said


@pytest.mark.sweep
@pytest.mark.parametrize("on", ["esp32", "linux"])
def test_each_module_is_found_at_its_offset(tmp_path, on):
    (tmp_path / "parts.bin").write_bytes(agent_files(on)["lib/ioto/parts.bin"])
    found = archive._Archive(str(tmp_path / "parts.bin"))
    modules = {name: raw for name, raw in compiled_files(on).items() if name != "__init__.mpy"}
    assert len(modules) > 40
    for name, raw in modules.items():
        assert found.stat("/" + name)[0] == 0x8000
        with found.open("/" + name, "rb") as f:
            assert f.read(len(raw)) == raw, name
    for name in ("/zone.mpy", "/gent.mpy", "/agen.mpy", "/.mpy"):
        with pytest.raises(ImportError):
            found.open(name, "rb")
    for name in ("/agent", "/agent.py", "/", ""):
        with pytest.raises(OSError):
            found.stat(name)


@pytest.mark.sweep
def test_every_module_can_be_imported(run):
    names = [name[:-4] for name in compiled_files("linux") if name != "__init__.mpy"]
    absent = {"wifi", "board", "otadata", "revision"}
    program = (
        "for n in %r:\n    __import__('ioto.' + n)\n    assert sys.modules['ioto.' + n].__file__ == '/.ioto/' + n + "
        "'.mpy'\nprint('ALL')" % sorted(set(names) - absent)
    )
    assert run(program, agent_files("linux")) == "ALL\n"
    assert "ImportError: /nothing.mpy" in run("import ioto.nothing", {})


def test_lack_of_memory_is_not_reported_as_a_missing_module(run):
    """Without memory for the archive, an import raises MemoryError, not ImportError, and the agent retries."""
    program = """
import builtins, ioto
opened = open

def fails(*arguments):
    raise MemoryError
builtins.open = fails
try:
    import ioto.semver
except MemoryError:
    print("MEMORY")
builtins.open = opened
import ioto.semver
print("FOUND")
"""
    assert run(program, agent_files("linux")) == "MEMORY\nFOUND\n"


def test_programs_that_list_all_folders_work(run):
    program = """
import ioto, os, vfs
print(list(os.ilistdir("/.ioto")), len(os.statvfs("/.ioto")))
del sys.modules["ioto"], ioto
import ioto, ioto.semver
vfs.umount("/.ioto")
print("UNMOUNTED")
"""
    assert run(program, agent_files("linux")) == "[] 10\nUNMOUNTED\n"


@pytest.mark.parametrize("kind", ["source", "single"])
def test_source_and_single_modules_do_not_use_an_archive(run, kind):
    """The board has sources beside an old archive, or modules that were compiled one by one."""
    files = {"lib/ioto/%s.py" % name: text.encode() for name, text in agent_sources().items()}
    left = {"lib/ioto/parts.bin": b"left there"} if kind == "source" else {}
    if kind == "single":
        files = {"lib/ioto/" + name: raw for name, raw in compiled_files("linux").items()}
    said = run("import ioto.semver; print(ioto.semver.__file__)", {**files, **left})
    assert said == "lib/ioto/semver.%s\n" % ("py" if kind == "source" else "mpy")


@pytest.mark.parametrize("own", [None, "json.py", "lib/json.mpy", "lib/json/__init__.py"])
def test_an_application_may_replace_built_in_modules(run, own):
    """prepare.py does not search the file system for a built-in module unless a file has the module's name."""
    files = agent_files("linux")
    if own:
        text = "OURS = True\n"
        files = {**files, own: compile_module(text, "json") if own.endswith(".mpy") else text.encode()}
    program = (
        "sys.path.append('lib')\nfrom ioto.prepare import prepare\nbefore = sys.path[:]\nprepare('')\nimport "
        "json\nprint(hasattr(json, 'OURS'), before == sys.path)"
    )
    assert run(program, files) == "%s True\n" % bool(own)
