"""Update states: the table compared with an independent description; retries, stop rule and shares by brute force."""

import itertools
from fractions import Fraction

from ioto import errors
from ioto_tools.cloud.devices import messages
from ioto_tools.cloud.rules import stop_rule, update_states
from ioto_tools.cloud.rules.update_states import (
    EVENTS,
    FAILURES,
    FINISHED,
    MAX_ATTEMPTS,
    OPEN,
    REPORTS,
    RETRY_DELAYS_S,
    STATES,
    TABLE,
)

ORDER = {state: number for number, state in enumerate(REPORTS)}


def expected(state, event):
    """The rules of TABLE, written in another way."""
    if event == "retry":
        return {"refused": "withdrawn", "unfit": "withdrawn"}.get(state, state if state in FAILURES else None)
    if event == "withdrawn":  # the device may still apply it, or try it again by itself
        return "withdrawn" if state in OPEN | {"rolled_back", "lost", "superseded"} else None
    if state == "withdrawn" and event in REPORTS:  # the device should not apply it; if it does, that counts
        return event if ORDER[event] >= ORDER["applied"] else None
    if event == "unfit":
        return (
            None
            if state in ("unfit", "superseded") or expected(state, "refused") is None and state != "withdrawn"
            else "unfit"
        )
    if state == "unfit" and event in REPORTS:
        return expected("refused", event)
    if event in REPORTS:
        if state == "superseded":
            return None
        if state == "reverted":  # only failures that are reported later change it
            return event if ORDER[event] > ORDER["confirmed"] else None
        return event if state in ("offered", "lost") or ORDER[event] > ORDER[state] else None
    if event == "runs":
        return "confirmed" if state not in ("confirmed", "superseded") else None
    if state == "withdrawn":
        return "offered" if event == "offer" else None
    if event == "returns":
        return "reverted" if state == "confirmed" else None
    if event in ("silent", "newer"):
        return {"silent": "lost", "newer": "superseded"}[event] if state in OPEN else None
    if event == "again":
        return "offered" if state != "superseded" else None
    assert event == "offer"
    return "offered" if state not in OPEN else None


def test_every_state_and_event():
    for state, event in itertools.product(STATES, EVENTS):
        assert update_states.next_state(state, event) == expected(state, event), (state, event)


def test_the_table_is_complete():
    assert (
        set(STATES) == set(REPORTS) | {"offered", "lost", "reverted", "superseded", "unfit", "withdrawn"}
        and len(STATES) == 14
    )
    assert {event for row in TABLE.values() for event in row} == set(EVENTS)
    assert {to for row in TABLE.values() for to in row.values()} == set(STATES)
    assert OPEN | FINISHED | {"superseded", "withdrawn"} == set(STATES) and not OPEN & FINISHED
    assert FAILURES == {"failed", "lost", "reverted", "rolled_back", "unfit"} and "deferred" in OPEN
    assert update_states.OUTCOMES == FAILURES | {"confirmed"} and FINISHED - update_states.OUTCOMES == {"refused"}
    assert update_states.RETRYABLE == FAILURES | {"refused"} and update_states.UNAPPLIED == OPEN - {"applied"}
    assert set(REPORTS) == set(messages.STATES)


def test_which_refusals_blame_the_release():
    """Refusals due to signature, manifest, image, chip or size count against it; those due to the device do not."""
    assert update_states.UNFIT <= set(errors.REASONS)
    against = {
        reason
        for reason in errors.REASONS
        if reason.split("_")[0] in ("image", "manifest", "signature", "unsigned", "size", "checksum")
    }
    assert update_states.UNFIT == against - {"checksum_invalid"}  # that reason is about the cloud's answer
    for reason in errors.REASONS + ("withdrawn", "no_memory", "not on a Sunday", ""):
        for report, ended in itertools.product(REPORTS, (None, *FINISHED)):
            wanted = report
            if report == "refused":
                wanted = (
                    "unfit"
                    if reason in against - {"checksum_invalid"} or reason == "failed_before" and ended == "unfit"
                    else report
                )
                wanted = "withdrawn" if reason == "withdrawn" else wanted
            assert update_states.event_of_report(report, reason, ended) == wanted, (report, reason, ended)


def test_the_order_of_reports_does_not_matter():
    """Up to four reports of two attempts, in any order, end in the most advanced state of the highest attempt."""
    reports = [(attempt, state) for attempt in (1, 2) for state in REPORTS]
    for length in range(5):
        for sequence in itertools.product(reports, repeat=length):
            state, attempt = "offered", 0
            for number, report in sequence:
                state, attempt = update_states.apply_report(state, attempt, report, number) or (state, attempt)
            furthest = max(sequence, key=lambda each: (each[0], ORDER[each[1]]), default=(0, "offered"))
            assert (attempt, state) == furthest, sequence


def test_a_report_in_every_state():
    """A report of the same attempt follows the table.

    A report of an earlier attempt is ignored; a report of a later attempt starts again.
    """
    for state, attempt, report, number in itertools.product(STATES, range(4), REPORTS, range(4)):
        found = update_states.apply_report(state, attempt, report, number)
        if number < attempt:
            wanted = None
        elif number > attempt > 0:
            wanted = None if state in ("superseded", "withdrawn") else (report, number)
        else:
            wanted = expected(state, report) and (expected(state, report), number)
        assert found == wanted, (state, attempt, report, number)


def test_every_outcome_can_be_reached_from_every_state():

    def reached(state):
        seen = {state}
        while more := {to for each in seen for to in TABLE[each].values()} - seen:
            seen |= more
        return seen

    for state in STATES:
        assert reached(state) >= FINISHED | OPEN, state


def test_three_tries_with_growing_delays():
    assert len(RETRY_DELAYS_S) == MAX_ATTEMPTS - 1 and list(RETRY_DELAYS_S) == sorted(RETRY_DELAYS_S)
    for state, tries, attempt in itertools.product((FAILURES | {"refused"}), range(1, 6), range(6)):
        found = update_states.next_try(state, tries, attempt, 1000)
        used = max(tries, attempt)
        assert found == (None if used >= 3 else (used + 1, 1000 + RETRY_DELAYS_S[used - 1])), (state, tries, attempt)
    for tries, attempt in itertools.product(range(1, 6), range(6)):
        assert update_states.next_try("confirmed", tries, attempt, 1000) == (1, 1000)
        assert (
            update_states.next_try("superseded", tries, attempt, 1000)
            == update_states.next_try("withdrawn", tries, attempt, 1000)
            == (tries, 1000)
        )
    for state, attempt in itertools.product(update_states.RETRYABLE | {"withdrawn"}, range(6)):
        assert update_states.next_try(state, 0, attempt, 1000) == (1, 1000)  # an operator has requested the next try


def test_a_device_that_always_fails_is_offered_three_times():
    """The last report does not matter, nor does it matter whether the device counts its attempts itself."""
    for end, own in itertools.product(("failed", "rolled_back", "refused", "silent"), (False, True)):
        state, tries, attempt, at = "offered", 1, 0, 0
        offers = [0]
        while True:
            if end == "silent":
                state = update_states.next_state(state, end)
            else:
                state, attempt = update_states.apply_report(state, attempt, end, 1 if own else tries)
            found = update_states.next_try(state, tries, attempt, at)
            if found is None:
                break
            tries, at = found
            state, attempt = update_states.next_state(state, "offer"), 0
            offers.append(at)
        assert offers == [0, 3600, 3600 + 86400], (end, own)


def test_the_stop_rule_for_all_small_numbers():
    kinds = ("confirmed", "failed", "lost", "reverted", "rolled_back", "unfit")
    for numbers in itertools.product(range(4), repeat=len(kinds)):
        ended = dict(zip(kinds, numbers)) | {"superseded": 50, "deferred": 50, "refused": 50, "withdrawn": 50}
        of, bad = sum(numbers), sum(numbers[1:])
        for least, percent in itertools.product((1, 3, 7), (0.5, 5, 33.4, 50, 100)):
            wanted = bad > 0 and of >= least and Fraction(bad, of) >= Fraction(percent) / 100
            assert stop_rule.applies(ended, least, percent) == wanted, (ended, least, percent)
        assert not stop_rule.applies(ended, 1, None)


def test_shares_are_uniform_and_independent_between_updates():
    devices = ["D%d" % n for n in range(20_000)]
    one, other = ([update_states.rollout_position(update, device) for device in devices] for update in ("A", "B"))
    assert all(0 <= each < 100 for each in one)
    for percentage in (0, 1, 5, 25, 50, 75, 99, 100):
        inside = sum(each < percentage for each in one)
        spread = (20_000 * percentage * (100 - percentage)) ** 0.5 / 100
        assert abs(inside - 200 * percentage) <= 5 * spread, percentage
    both = sum(a < 50 and b < 50 for a, b in zip(one, other))
    assert abs(both - 5000) < 5 * (20_000 * 0.25 * 0.75) ** 0.5
    assert one == [update_states.rollout_position("A", device) for device in devices]
