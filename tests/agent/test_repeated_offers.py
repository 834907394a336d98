"""The cloud repeats the offer of an update that was refused or has failed.

A failed update is not installed again; a refused one is checked again. Each offer is answered with a report.
"""

import hashlib

import pytest
from ioto_tools.cloud.operators import overview
from ioto_tools.cloud.rules.update_states import MAX_ATTEMPTS, RETRY_DELAYS_S
from rig import Rig
from signing import pem


def published_for(folder, case):
    """A rig with a release that is not signed, which its board refuses, or with one that crashes."""
    if case == "refused":  # it is not signed
        rig = Rig(folder, files={"ours.pem": pem("ours")}, update__keys="ours.pem")
    else:
        rig = Rig(folder, update__attempts=1)
        rig.board.faults[hashlib.sha256(rig.image(1)).hexdigest()] = "crash"
    rig.publish(rig.image(1), "1.0.1")
    return rig


@pytest.mark.parametrize("case", ["refused", "failed"])
def test_update_offered_again_has_the_same_outcome(tmp_path, case):
    rig = published_for(tmp_path, case)
    state = {"refused": "unfit"}.get(case, case)  # in the cloud, a release refused as unsigned has the state unfit
    boots = len(rig.run(until_s=900).boots)
    for wait_s in (*RETRY_DELAYS_S, RETRY_DELAYS_S[-1]):
        assert overview.updates(rig.site)[0]["states"] == {state: 1}
        rig.board.clock.advance(wait_s * 1e6)
        run = rig.run(until_s=7200)
        assert case == "refused" or "failed_before" in run.console or wait_s == RETRY_DELAYS_S[-1], run.console
        assert run.slots == ["ota_0"]
    assert overview.updates(rig.site)[0]["states"] == {state: 1} and boots <= 3
    told = [r["reason"] for r in overview.device(rig.site, "DEVICE0001")["reports"] if r["state"] == case]
    assert told[1:] == [{"refused": "unsigned", "failed": "failed_before"}[case]] * (MAX_ATTEMPTS - 1), told
