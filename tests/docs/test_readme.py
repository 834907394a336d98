"""README.md: the demonstration prints the page's transcript, apart from `...`; the page's main.py and files work."""

import io
import json
import re
from pathlib import Path

from ioto_tools.demo import Demonstration
from rich.console import Console

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


def blocks(kind):
    return re.findall(r"```%s\n(.*?)```" % kind, README, re.S)


def without_variable_parts(text):
    """Replace what differs: times, the device's id, bytes in transit when the power is cut, a delta by another zlib."""
    text = re.sub(r"\d+ ms", "N ms", text)
    text = re.sub(r"device [A-Z0-9]{10}", "device ID", text)
    text = re.sub(r"delta: [\d,]+ bytes", "delta: N bytes", text)
    text = re.sub(r"[\d,]+ came over the air: [\d,]+ for", "N came over the air: N for", text)
    text = re.sub(r"at block \d+", "at block N", text)
    return [line.rstrip() for line in text.strip().split("\n") if line.strip()]


def test_demonstration_prints_the_transcript(tmp_path):
    out = io.StringIO()
    console = Console(file=out, width=1000, highlight=False, soft_wrap=True)
    with Demonstration(tmp_path / "demo", ROOT / ".build" / "firmware", console, real_time=False) as show:
        show.good_update()
        show.delta_update()
        show.crashing_update()
        show.forged_update()
    printed = iter([*without_variable_parts(out.getvalue()), "confirmed version 1.27.0"])
    left_out = False
    for line in without_variable_parts(blocks("text")[0]):
        if line.strip() == "...":
            left_out = True
            continue
        following = next(printed, None)
        while left_out and following not in (line, None):
            following = next(printed, None)
        assert line == following
        left_out = False
    assert next(printed, None) is None
    check_saving(out.getvalue(), tmp_path / "demo" / "1.27.0.signed")


def check_saving(printed, signed):
    """The masked figures of the delta fit each other, and the release's own file `signed`."""
    (line,) = re.findall("delta: .*", printed)
    size, whole, percent, fetched, repeated = (int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*", line))
    assert whole == signed.stat().st_size and percent == round(100 * size / whole), line
    assert size + repeated == fetched < whole / 4, line


def test_example_files_load(tmp_path):
    from ioto import config

    for name, text in zip(("ioto.json", "device.json"), blocks("json"), strict=True):
        json.loads(text)
        (tmp_path / name).write_text(text)
    (tmp_path / "ca.pem").write_text("")  # only its existence is checked
    assert config.load(str(tmp_path) + "/")["product"] == "PRODUCT-ID"
    assert config.load_device(str(tmp_path) + "/")["id"] == "auto"


def test_example_main_updates_a_board(tmp_path):

    from rig import Rig

    main = blocks("python")[0]
    assert main.count("\n") <= 12
    rig = Rig(tmp_path / "rig", main=main)
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=60)
    assert run.slots == ["ota_0", "ota_1"] and "update to 1.0.1" in run.console, run.console
    assert rig.board.describe_otadata() == "1/VALID 2/VALID"
