"""From a failure on a board to its traceback on the operators' page: one report, or one check-in."""

import html
import re

import pytest
from failing_program import FAIL, RUN
from ioto_tools.cloud.operators import overview
from rig import ROOT, Rig
from web_session import Session

MAIN_THAT_FAILS = (
    """
import asyncio, time
from esp32 import Partition
from ioto import rWatch

head = bytearray(4096)
Partition(Partition.RUNNING).readblocks(0, head)

def check(data, arg):
    raise ValueError("no sensor at 0x%%x" %% id(head))
"""
    + FAIL
    + RUN
)
LATER = "    rWatch('device:selftest', wait)\n    await asyncio.sleep(5)\n"
WAYS = {  # a new version that fails -> (its code, the reason and cause on the page, the end of the traceback)
    "raises in its self-test": (
        "    rWatch('device:selftest', check)\n",
        r"selftest_failed: ValueError: no sensor at #, main.py:10 in check",
        r'File "main.py", line 10, in check\nValueError: no sensor at 0x[0-9a-f]+',
    ),
    "raises after 5 seconds": (
        LATER + "    raise ValueError('no sensor')\n",
        r"rolled_back: ValueError: no sensor, main.py:18 in fail",
        r'File "main.py", line 18, in fail\nValueError: no sensor',
    ),
    "hangs": (LATER + "    while True:\n        time.sleep(1)\n", r"rolled_back: reset: wdt", None),
    "runs out of memory": (
        LATER
        + "    big = []\n    while True:\n        big.append(bytearray(2000))\n        await asyncio.sleep_ms(10)\n",
        r"rolled_back: MemoryError: memory allocation failed, allocating # bytes, .*",
        r"MemoryError: memory allocation failed, allocating \d+ bytes",
    ),
}


def shown(rig, page):
    """(texts in the summaries of the failures, traceback and log of each as one text) on a page."""
    body = Session(rig, "jo%d" % rig.random(1)[0], "read").get(page).body.decode()
    summaries = [re.sub("<[^>]+>", "", each) for each in re.findall(r"<summary>(.*?)</summary>", body, re.S)]
    return html.unescape("\n".join(summaries)), html.unescape(
        "\n".join(re.findall(r"<pre[^>]*>(.*?)</pre>", body, re.S))
    )


def test_the_guide_shows_what_the_page_shows():
    guide = (ROOT / "docs" / "cloud.md").read_text()
    rows = dict(re.findall(r"^\| (.*) \| `(.*)` \|$", guide.partition("| a new version that |")[2], re.M)[: len(WAYS)])
    assert list(rows) == list(WAYS)
    assert all(re.fullmatch(cause, rows[way]) for way, (_, cause, _) in WAYS.items())


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=pytest.mark.sweep if "raises a" not in way else ()) for way in WAYS]
)
def test_a_failed_trial(tmp_path, way):
    code, cause, trace = WAYS[way]
    rig = Rig(tmp_path, main=MAIN_THAT_FAILS % (code, 1), update__attempts=1)
    rig.publish(rig.image(1), "1.0.1")
    rig.run(until_s=3000)
    [group] = overview.release_failures(rig.site, "product@1.0.1")
    assert (group["devices"], group["example"]["device"]) == (1, "DEVICE0001"), group
    for page in ("release?id=product@1.0.1", "device?id=DEVICE0001"):
        summaries, texts = shown(rig, page)
        if page.startswith("release"):
            assert re.search("1 device: %s, " % cause, summaries), summaries
        assert re.search(trace or "^[^T]", texts), texts
        assert "boot is trial" in texts and "Traceback" in texts or way == "hangs"


def test_a_crash_outside_of_an_update_is_on_the_page_after_one_check_in(tmp_path):
    """The board runs the first version, and crashes; the next check-in that is answered brings the traceback."""
    rig = Rig(tmp_path, main=MAIN_THAT_FAILS % ("    await asyncio.sleep(5)\n    raise ValueError('no sensor')\n", 0))
    rig.run(until_s=300, stop=lambda line: "ValueError: no sensor" in line)
    before = overview.device(rig.site, "DEVICE0001")
    assert before["failures"] == []

    def is_later(line):
        return overview.device(rig.site, "DEVICE0001")["checkins"] > before["checkins"]

    assert rig.run(until_s=4000, stop=is_later).ended == "stopped"
    found = overview.device(rig.site, "DEVICE0001")
    assert found["checkins"] == before["checkins"] + 1
    assert [(each["state"], each["version"]) for each in found["failures"]] == [("crashed", "1.0.0")]
    summaries, texts = shown(rig, "device?id=DEVICE0001")
    assert "crashed" in summaries and "in fail\nValueError: no sensor" in texts
