"""Every recorded scenario of a real ESP32 firmware, replayed on the virtual board."""

import json
import re
from pathlib import Path

import pytest
from ioto_tools.image import samples
from replay_recordings import coalesce, replay

SCENARIOS = json.loads((Path(__file__).parent / "groundtruth.json").read_text())
# (scenario, key): why the observation can't be compared.
LEFT_OUT = {
    ("write_to_running_slot_ioctl6", "*"):
        "only the panic's console output was recorded; write_to_running_slot shows the same reset",
    ("hang_image_watchdogs_running", "*"):
        "only console output and ROM reset codes of the emulator's watchdogs were recorded",
    ("reset_keeps", "pin reset"): "the emulator's RTC jumps to 2063 at a pin reset",
    ("deepsleep", "*"): "the emulator wakes with cause 2; ESP-IDF documents 4",
    ("wdt_during_set_boot_verify", "bitten"): "a remark of the recorder; the reset cause in `after` shows it here",
    ("write_image_on_board_then_boot", "equal"):
        "compared on the host by the recorder; the boot that follows shows it here",
}  # fmt: skip
# Keys of observations of the emulator's console, its ROM codes or its time.
CONSOLE = re.compile(
    r"console|rst codes|messages$|reset after s|set_boot ms|copy ota_0|program_sizes|order8192|erases65536"
    r"|0xff block|hang|prompt"
)


@pytest.fixture(scope="session")
def application():
    return samples.application("generic", Path(__file__).parent.parent.parent / ".build" / "firmware")


def in_order(wanted, found):
    """Look for `wanted` in `found`, in order; return (True, the first missing value) or (False, None)."""
    left = iter(found)
    for value in wanted:
        if not any(value == each for each in left):
            return True, value
    return False, None


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s["scenario"])
def test_the_virtual_board_behaves_as_recorded(scenario, application, tmp_path):
    name = scenario["scenario"]
    seen = replay(scenario, application, tmp_path)
    if (name, "*") in LEFT_OUT:
        return
    states, values, compared = [], [], 0
    for key, value in scenario["observed"].items():
        if (name, key) in LEFT_OUT:
            continue
        if key.endswith("boot_messages"):
            compared += check_messages(value, seen)
        if CONSOLE.search(key):
            continue
        if isinstance(value, list) and value and all(isinstance(v, dict) and "running" in v for v in value):
            states += value
            continue
        if isinstance(value, dict) and "running" in value:
            states.append(value)
        elif key.startswith(("flash_ops", "flash ops", "ops")):
            compared += check_ops(key, value, seen)
        elif key.startswith("otadata") and (not isinstance(value, str) or re.match(r"(-|\d+/)", value)):
            if isinstance(value, str):
                assert (
                    value in [s.get("otadata") for s in seen.states] + seen.otadata or value in scenario["steps"][0]
                ), key
                compared += 1
        else:
            values.append(value)
    missing, state = in_order(states, [{k: s.get(k) for k in (states[0] if states else ())} for s in seen.states])
    assert not missing, "state %s not among\n%s" % (state, "\n".join(map(str, seen.states)))
    missing, value = in_order(values, seen.results)
    assert not missing, "result %r not among\n%s" % (value, "\n".join(map(str, seen.results)))
    assert states or values or compared, "nothing was compared"


def check_ops(key, value, seen):
    if value == 0:
        assert [] in seen.ops, key
    elif isinstance(value, list) and all(isinstance(v, list) for v in value):
        want = [
            (
                v[0],
                int(v[1], 16),
                v[2] if isinstance(v[2], int) else len(v[2]) // 2,
                None if isinstance(v[2], int) else bytes.fromhex(v[2]),
            )
            for v in value
        ]
        want = coalesce(want)
        assert any(len(ops) == len(want) and all(map(same, want, ops)) for ops in seen.ops), "%s: %s not among %s" % (
            key,
            want,
            seen.ops,
        )
    else:
        return 0
    return 1


def same(want, op):
    """Compare a recorded operation with ours. A truncated record has only the beginning of a long program operation."""
    kind, address, n, data = want
    if (kind, address) != op[:2]:
        return False
    return data == op[3] if data is not None else n == op[2] or (kind == "program" and n % 64 == 0 and n <= op[2])


def plain(line):
    """A message without its time; checksums become their XOR, because the recorded image was another build."""
    line = re.sub(r"^[EWI] \(\d+\) ", "", line)
    return re.sub(
        r"Calculated 0x(\w+) read 0x(\w+)", lambda m: "wrong bits 0x%x" % (int(m[1], 16) ^ int(m[2], 16)), line
    )


def check_messages(value, seen):
    """Check that one of our boots printed the messages of the bootloader, apart from their times."""
    want = [plain(line) for line in value if "esp_image:" in line or " boot:" in line]
    if not want:
        return 0
    ours = [[plain(line) for line in messages] for messages in seen.messages if messages]
    assert any(messages[: len(want)] == want[: len(messages)] for messages in ours), "%s not among %s" % (
        want,
        seen.messages,
    )
    return 1


def test_every_scenario_that_is_left_out_exists():
    known = {(s["scenario"], key) for s in SCENARIOS for key in (*s["observed"], "*")}
    assert set(LEFT_OUT) <= known
    whole = sum(key == "*" for _, key in LEFT_OUT)
    print("%d scenarios, %d replayed, %d left out entirely, %d single observations left out" % (
        len(SCENARIOS), len(SCENARIOS) - whole, whole, len(LEFT_OUT) - whole))  # fmt: skip
