"""The cloud offers once more what has come to a bad end: what failed is not installed, what was refused is examined
again; the board says so each time.
"""

import hashlib

import pytest
from ioto_tools.cloud.operators import overview
from ioto_tools.cloud.rules.update_states import ATTEMPTS, RETRY_S
from rig import Rig
from signing import pem


def spoilt(folder, case):
    """A board for which the release will not do, and the state in which it ends."""
    if case == "refused":  # nobody has signed it
        rig = Rig(folder, files={"ours.pem": pem("ours")}, update__keys="ours.pem")
    else:
        rig = Rig(folder, update__attempts=1)
        rig.board.faults[hashlib.sha256(rig.image(1)).hexdigest()] = "crash"
    rig.publish(rig.image(1), "1.0.1")
    return rig


@pytest.mark.parametrize("case", ["refused", "failed"])
def test_it_ends_as_it_ended(tmp_path, case):
    rig = spoilt(tmp_path, case)
    state = {"refused": "unfit"}.get(case, case)  # of a release: an unsigned one speaks against itself
    boots = len(rig.run(until_s=900).boots)
    for wait_s in (*RETRY_S, RETRY_S[-1]):
        assert overview.updates(rig.site)[0]["states"] == {state: 1}
        rig.board.clock.advance(wait_s * 1e6)
        run = rig.run(until_s=7200)
        assert case == "refused" or "failed_before" in run.console or wait_s == RETRY_S[-1], run.console
        assert run.slots == ["ota_0"]
    assert overview.updates(rig.site)[0]["states"] == {state: 1} and boots <= 3
    told = [r["reason"] for r in overview.device(rig.site, "DEVICE0001")["reports"] if r["state"] == case]
    assert told[1:] == [{"refused": "unsigned", "failed": "failed_before"}[case]] * (ATTEMPTS - 1), told
