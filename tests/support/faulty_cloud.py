"""A cloud with faulty replies, a rig in front of it, and the check that a board refuses them and recovers."""

import hashlib
import json

from ioto_tools.virtual_board.peers import AsgiServer, ScriptedServer, http_response
from rig import Rig, secure

UPDATE = "01SPOILT"
FAULTY_S = 900
RECOVERY_S = 4 * 3600


def offer(image=b"", **changes):
    found = {
        "url": "https://images.test/i", "checksum": hashlib.sha256(image).hexdigest(), "update": UPDATE,
        "version": "1.0.1",
        "size": len(image),
    }  # fmt: skip
    found.update(changes)
    return {k: v for k, v in found.items() if v is not None}


class FaultyCloud:
    """A cloud with faulty replies until restore_cloud(): `check` to check-ins, `image` to GETs."""

    def __init__(self, check, image=None):
        self.check, self.image = check, image
        self.reports = []
        self.checks = 0

    def answer(self, method, path, headers, body):
        if path.endswith("/register"):
            return [http_response(json.dumps({"api": "https://cloud.test", "token": "T", "registered": True}).encode())]
        if path.endswith("/updateReport"):
            self.reports.append(json.loads(body))
            return [http_response(b"{}")]
        if path.endswith("/update"):
            self.checks += 1
            self.last = json.loads(body)
            found = self.check
            return found if isinstance(found, list) else [http_response(json.dumps(found).encode())]
        return self.image


def board(tmp_path, faulty, **options):
    script = ScriptedServer(faulty.answer)
    rig = Rig(
        tmp_path / "rig",
        air={"peers": {("cloud.test", 443): secure(script), ("images.test", 443): secure(script)}},
        network__timeout=5,
        **options,
    )
    # The board registers with the faulty cloud, and once more after restore_cloud().
    return rig


def restore_cloud(rig):
    """Let the real cloud answer from now on; the device registers again."""
    rig.publish(rig.image(9), "1.0.9")
    address = rig.air.names["cloud.test"]
    rig.air.peers[(address, 443)] = secure(AsgiServer(rig.app))


def confirmed(line):
    return line.startswith("CONFIRMED")


def state(rig):
    return rig.board.describe_otadata(), rig.board.read_slot("ota_0")


def reasons_given(run, faulty):
    """The reasons in reports, in the last check-in, and in the output of main.py's watchers."""
    reasons = {r.get("reason") for r in faulty.reports} | {getattr(faulty, "last", {}).get("error")}
    return reasons | {line.split()[1] for line in run.console.split("\n") if line.startswith("FAILED")}


def check_refused(tmp_path, faulty, reason, **options):
    """Check that the board gives the reason and changes no slot, and that it then updates from the real cloud."""
    rig = board(tmp_path, faulty, **options)
    before = state(rig)
    run = rig.run(until_s=FAULTY_S)
    assert run.ended == "time", run.console[-800:]
    assert "Traceback" not in run.console, run.console[-1500:]
    assert reason in reasons_given(run, faulty), "%s not in %s\n%s" % (
        reason,
        reasons_given(run, faulty),
        run.console[-1500:],
    )
    assert state(rig) == before and run.slots == ["ota_0"], run.console[-800:]
    assert rig.board.read_slot("ota_1") == b"", "the other slot contains a bootable image"
    restore_cloud(rig)
    run = rig.run(until_s=RECOVERY_S, stop=confirmed)
    assert run.slots[-1] == "ota_1" and rig.board.describe_otadata().split()[1] == "2/VALID", run.console[-1500:]
    return rig
