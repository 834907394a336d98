"""The life cycle of an update: the table of phases, random lives with invariants, the report queue."""

import json

from ioto.errors import REASONS
from ioto.plan import boot
from ioto.recall import empty
from ioto.update import PHASES, RETRY, STATES, Update, add_report, body, move


def test_only_moves_of_the_table_are_allowed():
    for a in PHASES:
        for b in PHASES:
            allowed = b in PHASES[a] or b in RETRY.get(a, ())
            try:
                assert move(a, b) == b and allowed, (a, b)
            except ValueError:
                assert not allowed, (a, b)


def test_every_phase_leads_to_idle():
    for start in PHASES:
        seen, left = set(), [start]
        while left:
            phase = left.pop()
            if phase not in seen:
                seen.add(phase)
                left += PHASES[phase]
        assert "idle" in seen, start


def offer(n, ours=True):
    return {
        "update": "u%d" % n,
        "version": "1.0.%d" % n,
        "checksum": "%064x" % n,
        "url": "http://x",
        "size": 8192,
        "ours": ours,
    }


class Random:
    """A small generator that is the same on both interpreters (Numerical Recipes' constants)."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 1664525 + 1013904223) & 0xFFFFFFFF
        return (self.state >> 8) % n


def a_life(seed, steps=60, ours=True):
    """A random board: offers, failed downloads, trials that pass or fail. Yields the record after each step."""
    random = Random(seed)
    record = empty()
    running, _build = "ota_0", "aa"
    flash = {"ota_0": "aa", "ota_1": "bb"}
    next_offer = 1
    for _ in range(steps):
        life = Update(record, running, flash[running], "1.0.0", 3)
        other = "ota_1" if running == "ota_0" else "ota_0"
        phase = record["phase"]
        if phase in ("idle", "report"):
            next_offer += random.below(2)
            if [offer(next_offer)["update"], offer(next_offer)["checksum"]] in [each[:2] for each in record["failed"]]:
                next_offer += 1
            life.take(offer(next_offer, ours), other)
        elif phase == "download":
            choice = random.below(4)
            if choice == 0:
                life.again("checksum_mismatch", "download")
            elif choice == 1:
                life.fail("image_chip")
            else:
                flash[other] = "build%d" % next_offer
                life.staged(b"0123456789abcdef", flash[other], 8192)
        elif phase == "staged":
            choice = random.below(5)
            if choice == 0:
                life.defer(random.below(1000))
            elif choice == 1:
                next_offer += 1
                life.take(offer(next_offer, ours), other)
            elif choice == 2:
                life.again("boot_refused", "download")
            else:
                life.swap()
        elif phase == "trial":
            if random.below(2):
                running = record["update"]["slot"]
                life = Update(record, running, flash[running], "1.0.0", 3)
                assert boot(record, running, running, "pending", 3) == "trial"
                assert life.version() == record["update"]["version"]
                life.confirmed()
                assert life.version() == record["update"]["version"]
                life.done()
            else:
                what = boot(record, running, running, "valid", 3)
                assert what == ("again" if record["attempt"] < 3 else "give_up")
                life.again("rolled_back")
        if random.below(3) == 0:
            del record["reports"][: random.below(4)]
        yield running, flash, record


def test_random_lives_keep_the_invariants():
    for seed in range(150):
        for running, flash, record in a_life(seed):
            where = "seed %d: %s" % (seed, record)
            assert record["phase"] in PHASES, where
            assert (record["update"] is None) == (record["phase"] == "idle"), where
            assert 0 <= record["attempt"] <= 3, where
            assert len(record["reports"]) <= 16 and len(record["failed"]) <= 4, where
            assert json.loads(json.dumps(record)) == record, where
            if record["update"]:
                assert record["update"]["slot"] in flash, where
            for entry in record["reports"]:
                assert entry["state"] in STATES, where
                assert entry.get("reason", "superseded") in REASONS, where
                assert body(entry, "d")["success"] == (entry["state"] not in ("failed", "rolled_back", "refused"))


def test_third_party_cloud_gets_only_outcomes():
    for seed in range(60):
        for _, _, record in a_life(seed, ours=False):
            for entry in record["reports"]:
                assert entry["state"] in ("confirmed", "failed", "refused"), "seed %d: %s" % (seed, entry)


def test_failed_update_is_remembered_until_four_others_failed():
    record = empty()
    life = Update(record, "ota_0", "", "1.0.0", 3)
    for n in range(6):
        life.take(offer(n), "ota_1")
        life.fail("image_chip")
        assert [offer(n)["update"], offer(n)["checksum"]] in [each[:2] for each in record["failed"]]
    assert len(record["failed"]) == 4


def test_full_queue_drops_steps_before_outcomes():
    record = empty()
    for n in range(10):
        add_report(record, "u%d" % n, "confirmed", "1.0.0")
    for n in range(40):
        add_report(record, "v%d" % n, "downloading", "1.0.0")
        assert len(record["reports"]) <= 16
    assert sum(e["state"] == "confirmed" for e in record["reports"]) == 10
    add_report(record, "v39", "downloading", "1.0.0")
    assert len(record["reports"]) == 16


def test_version_of_another_build_in_the_slot_is_not_used():
    record = empty()
    record["slots"]["ota_0"] = {"version": "2.0.0", "image": "cc", "build": "b2"}
    assert Update(record, "ota_0", "b2", "1.0.0", 3).version() == "2.0.0"
    assert Update(record, "ota_0", "b2", "1.0.0", 3).image() == "cc"
    assert Update(record, "ota_0", "b3", "1.0.0", 3).version() == "1.0.0"
    assert Update(record, "ota_1", "b2", "1.0.0", 3).version() == "1.0.0"


def test_meaning_of_a_boot():
    """Every combination of phase, slots and otadata state, compared with the rules in words."""
    for phase in PHASES:
        for slot in ("ota_0", "ota_1"):
            for running in ("ota_0", "ota_1"):
                for next_boot in ("ota_0", "ota_1"):
                    for state in ("new", "pending", "valid", "undefined", None):
                        for attempt in (1, 2, 3):
                            record = empty()
                            record.update(phase=phase, attempt=attempt, update=dict(offer(1), slot=slot))
                            what = boot(record, running, next_boot, state, 3)
                            where = (phase, slot, running, next_boot, state, attempt, what)
                            if what == "trial":
                                assert running == next_boot, where
                                assert state == "pending" or (phase == "trial" and running == slot), where
                            if what == "confirmed":
                                assert phase == "trial" and running == next_boot == slot and state == "valid", where
                            if what in ("again", "give_up"):
                                assert phase == "trial" and running != slot, where
                                assert (what == "give_up") == (attempt == 3), where
                            if what == "stray":
                                assert running != next_boot, where
                            if phase == "trial":
                                assert what in ("trial", "confirmed", "again", "give_up", "stray"), where
