"""A board with a fixed id whose flash was erased.

The cloud refuses its registration while it considers the device active. The registration succeeds when an operator
has claimed the device, or when the device has been silent for long enough.
"""

import pytest
from ioto_tools.cloud.devices import tokens
from ioto_tools.cloud.operators import control, overview
from rig import Rig

DEVICE = "DEVICE0001"


def erased(folder):
    """A board that was registered and has lost its state."""
    rig = Rig(folder)
    rig.run(until_s=60)
    rig.board.write_files({name: None for name in rig.board.files() if name.startswith("state/")})
    rig.publish(rig.image(1), "1.0.1")
    return rig


@pytest.mark.parametrize("helped", [True, False], ids=["operator", "silence"])
def test_board_with_erased_flash_is_refused_and_then_registers_again(tmp_path, helped):
    rig = erased(tmp_path)
    run = rig.run(until_s=2 * 3600)
    assert "409" in run.console and run.slots == ["ota_0"] and "Traceback" not in run.console, run.console[-800:]
    assert overview.device(rig.site, DEVICE)["registrations"] == 1
    if helped:
        control.claim(rig.site, DEVICE)
    else:
        rig.board.clock.advance(tokens.QUIET_S * 1e6)
    run = rig.run(until_s=4 * 3600)
    assert run.slots[-1] == "ota_1" and overview.device(rig.site, DEVICE)["version"] == "1.0.1", run.console[-800:]
    assert overview.device(rig.site, DEVICE)["registrations"] == 2
