"""Budgets for the agent's heap: a figure above its budget is an error, and one far below requires a lower budget."""

import pytest
from ioto_tools.deploy.agent_build import compiled_files

from tests.meter import measure
from tests.meter.mpy import functions

pytestmark = pytest.mark.skipif(bool(measure.MISSING), reason=measure.MISSING)

# Bytes of heap that importing a file of the agent adds to those of main.py's import. MicroPython allocates names in
# blocks: up to 80 bytes move from one file to another when a name is added anywhere.
FILES = {
    "__init__.mpy": 2300, "start.mpy": 1320, "agent.mpy": 14600, "prepare.mpy": 820, "setup.mpy": 11400,
    "begin.mpy": 6860, "connect.mpy": 9050, "checkin.mpy": 12250,
    "answer.mpy": 16000, "fetch.mpy": 7600, "examine.mpy": 2810, "swap.mpy": 4900, "trial.mpy": 3870,
    "failure.mpy": 900, "space.mpy": 1480,
    "alone.mpy": 970, "registration.mpy": 13950, "folder.mpy": 440, "costs.mpy": 610, "blocking.mpy": 10450,
    "ioto_keys.mpy": 16980, "json5.mpy": 5000,
    "posix_tz.mpy": 2310, "config_errors.mpy": 13100, "clock.mpy": 10700, "dns.mpy": 1310, "redirect.mpy": 9050,
    "chunked.mpy": 8900, "ranges.mpy": 8450,
    "faults.mpy": 890, "facts.mpy": 890, "http_date.mpy": 9350, "semver.mpy": 1210, "bounds.mpy": 200,
    "timezone.mpy": 650, "window.mpy": 1870,
    "staged.mpy": 1960, "update.mpy": 3800, "recall.mpy": 720, "otadata.mpy": 1040, "without_main.mpy": 575,
    "certs.mpy": 2540, "health.mpy": 860, "starts.mpy": 1500, "diary.mpy": 860, "details.mpy": 2000, "redact.mpy": 1200,
    "unpack.mpy": 4950,
}  # fmt: skip
LIFE = {
    "resident after import": 17900,
    "resident with its objects, at rest": 32100,
    "live in a check-in": 49800,
    "live in a download": 57300,
    "garbage between two collections during the start": 7100,
}
SLACK = 1.05  # a budget above its figure by more than this factor and 200 bytes must be lowered


def check(found, budgets, where):
    """Report all figures that differ from their budgets."""
    wrong = []
    for name, figure in found.items():
        budget = budgets.get(name)
        if budget is None:
            wrong.append("%s is new: add it to %s with its %d bytes" % (name, where, figure))
        elif figure > budget:
            wrong.append("%s takes %d bytes, its budget is %d: make it smaller" % (name, figure, budget))
        elif figure * SLACK + 200 < budget:
            wrong.append("%s takes only %d bytes: lower its budget in %s from %d" % (name, figure, where, budget))
    wrong += ["%s no longer exists: remove it from %s" % (name, where) for name in budgets if name not in found]
    assert not wrong, "\n".join(wrong)


def test_heap_of_each_file_is_within_its_budget():
    check({file: part.live for file, part in measure.parts().items()}, FILES, "FILES")


def test_heap_from_start_to_download_is_within_its_budget():
    found = measure.figures()
    check({name: found[name] for name in LIFE}, LIFE, "LIFE")


def test_decoding_a_packed_file_takes_20_kib():
    """Its code and the decoder; it is the same for an image of any size."""
    code, decoder = measure.unpacking()
    assert 12000 < code + decoder <= 20 * 1024, (code, decoder)


def test_a_released_part_leaves_only_its_names():
    """No resident module keeps a reference to the part: less than a quarter of its heap remains."""
    released = {file: part for file, part in measure.parts().items() if file not in measure.RESIDENT}
    assert released
    for file, part in released.items():
        assert part.stays <= part.live / 4 + 50, "%s: %s" % (file, part)


def test_the_measured_run_was_complete():
    found = measure.life()
    assert found.console == []
    assert 0 < found.imported < found.idle <= found.check_in.live < found.download.live <= found.download.most


def test_bytecode_is_counted():
    for path, raw in compiled_files().items():
        found = functions(raw)
        assert 0 < sum(found) < len(raw), path
    with pytest.raises(ValueError, match="version"):
        functions(b"M\x05\0\x1f")


def test_a_file_without_a_budget_says_what_to_do():
    with pytest.raises(AssertionError, match="new.mpy is new: add it to FILES with its 100 bytes"):
        check({"new.mpy": 100}, {}, "FILES")
    with pytest.raises(AssertionError, match="takes only 2000 bytes: lower"):
        check({"a.mpy": 2000}, {"a.mpy": 3000}, "FILES")
