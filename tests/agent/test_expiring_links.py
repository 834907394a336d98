"""Image links expire: a refused link costs no attempt and no progress, and the next check-in returns another one."""

import hashlib

import pytest
from ioto_tools.image import esp
from ioto_tools.virtual_board import Cut
from ioto_tools.virtual_board.peers import ScriptedServer, http_response
from rig import Rig, secure

IMAGE = esp.make_image(14 * 4096 - 2048, "linked")


class LinkingCloud:
    """A cloud with links that are valid until the next check-in, or never."""

    def __init__(self):
        self.given = 0
        self.good = True
        self.asked = []  # (link, Range, status)
        self.states = []
        self.checks = []  # `attempt` in each check-in

    def answer(self, method, path, headers, body):
        import json

        if path.endswith("/register"):
            return [http_response(json.dumps({"api": "https://cloud.test", "token": "T", "registered": True}).encode())]
        if path.endswith("/updateReport"):
            self.states.append(json.loads(body)["state"])
            return [http_response(b"{}")]
        if path.endswith("/update"):
            self.given += 1
            self.checks.append(json.loads(body)["attempt"])
            if json.loads(body)["version"] == "1.0.1":
                return [http_response(b"{}")]
            found = {"url": "https://cloud.test/image/U?link=%d" % self.given,
                "checksum": hashlib.sha256(IMAGE).hexdigest(),
                     "update": "U", "version": "1.0.1", "size": len(IMAGE)}  # fmt: skip
            return [http_response(json.dumps(found).encode())]
        return [self._image(path.rpartition("=")[2], headers.get("range"))]

    def _image(self, link, wanted):
        status = 403 if not self.good or link != str(self.given) else 206 if wanted else 200
        self.asked.append((link, wanted, status))
        if status == 403:
            return http_response(b'{"error":"the link has expired"}', 403)
        start = int(wanted[6:-1]) if wanted else 0
        lines = [("Content-Range", "bytes %d-%d/%d" % (start, len(IMAGE) - 1, len(IMAGE)))] if wanted else []
        return http_response(IMAGE[start:], status, lines)


def rig(tmp_path, cloud):
    return Rig(
        tmp_path / "rig",
        blocks=14,
        cloud=False,
        air={"peers": {("cloud.test", 443): secure(ScriptedServer(cloud.answer))}},
    )


@pytest.mark.sweep
def test_refused_link_costs_no_attempt_and_is_replaced(tmp_path):
    cloud = LinkingCloud()
    cloud.good = False
    board = rig(tmp_path, cloud)
    run = board.run(until_s=1800)
    assert run.slots == ["ota_0"] and len(cloud.asked) > 3 and {status for _, _, status in cloud.asked} == {403}
    assert cloud.states == ["downloading"] and set(cloud.checks[1:]) == {1}, (cloud.states, cloud.checks)
    cloud.good = True
    run = board.run(until_s=3 * 3600)
    assert run.slots[-1] == "ota_1" and cloud.states[-1] == "confirmed", run.console[-1000:]


def tenth_block(tmp_path):
    """Index of the flash operation that erases the tenth block in a run without a cut."""
    (tmp_path / "clean").mkdir()
    board = rig(tmp_path / "clean", LinkingCloud())
    trace = board.run(until_s=600, stop=lambda line: line.startswith("DEVICE:UPDATE")).trace
    slot = board.board.partition("ota_1")
    return [
        n for n, op in enumerate(trace.ops) if op[0] == "erase" and slot.address <= op[1] < slot.address + slot.size
    ][9]


def test_download_resumes_with_a_new_link_after_a_power_cut(tmp_path):
    """The power is cut in the tenth block.

    The device checks in first, so its next request has the new link and a range.
    """
    cloud = LinkingCloud()
    board = rig(tmp_path, cloud)
    assert board.run(until_s=600, cut=Cut(tenth_block(tmp_path), "during")).ended == "cut"
    first = list(cloud.asked)
    assert [status for _, _, status in first] == [200]
    run = board.run(until_s=3 * 3600)
    assert run.slots[-1] == "ota_1" and cloud.states[-1] == "confirmed", run.console[-1000:]
    link, wanted, status = cloud.asked[len(first)]
    assert (link, status) == ("2", 206) and wanted and len(cloud.asked) == 2, cloud.asked
