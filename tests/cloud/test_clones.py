"""Two boards with the same flash image, id and token are detected, shown, and left out of the stop rule."""

import pytest
from device_actions import DAY, ask, audited_subjects, is_accepted, send_report, state
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.storage import audit

HOUR = 3600


class Board:
    """One of several boards with the id and token of D1. With `sends_up`, its check-ins contain `up`."""

    def __init__(self, cloud, sends_up, version="1.0.0"):
        self.cloud, self.sends_up, self.version, self.booted_s = cloud, sends_up, version, cloud.now_s

    def check_in(self):
        up = {"up": self.cloud.now_s - self.booted_s} if self.sends_up else {}
        reply = self.cloud.check_in("D1", self.cloud.tokens["D1"], self.version, **up)
        assert reply.status == 200
        return reply.json().get("version")

    def apply(self, version):
        self.version, self.booted_s = version, self.cloud.now_s


@pytest.fixture
def make_clones(cloud):
    """make_clones(sends_up) returns two boards with one id, and publishes a release that one failure would pause."""

    def make(sends_up):
        for n in range(2, 7):
            ask(cloud, "D%d" % n)
        ask(cloud, "D1")
        boards = []
        for _ in range(2):
            cloud.now_s += HOUR
            boards.append(Board(cloud, sends_up))
        cloud.publish("2.0.0", stop="10% after 6")
        for n in range(2, 7):
            assert ask(cloud, "D%d" % n) == "2.0.0"
            send_report(cloud, "D%d" % n, "confirmed")
        return boards

    return make


@pytest.mark.parametrize("sends_up", [True, False])
def test_two_boards_with_the_same_flash_image_do_not_stop_a_release(cloud, make_clones, sends_up):
    one, two = make_clones(sends_up)
    assert one.check_in() == "2.0.0"
    cloud.now_s += 60
    one.apply("2.0.0")
    counted = []
    for _ in range(10):
        for board in (one, two):
            cloud.now_s += HOUR
            board.check_in()
            counted.append(
                (
                    bool(audited_subjects(cloud, "device.shared")),
                    overview.update(cloud.site, "thermo@2.0.0")["ended"]["confirmed"],
                )
            )
    assert set(counted) == ({(False, 6), (True, 5)} if sends_up else {(False, 6)})  # not counted after detection
    update = overview.update(cloud.site, "thermo@2.0.0")
    assert update["state"] == "active" and not any(each in update["ended"] for each in ("reverted", "failed"))
    if sends_up:
        assert audited_subjects(cloud, "device.shared") == ["D1"]
        assert any("share this id" in each["says"] for each in overview.device(cloud.site, "D1")["doubts"])
        assert update["ended"] == {"confirmed": 5}  # D1 does not count
        assert two.check_in() == "2.0.0"  # but it is still offered releases


def test_boards_that_do_not_send_their_start_time_are_detected_by_the_update_outcome(cloud, make_clones):
    """Each board checks in twice in a row: the cloud sees a reverted update, which then runs again without an offer."""
    one, two = make_clones(False)
    assert one.check_in() == "2.0.0"
    one.apply("2.0.0")
    control.set_terms(cloud.site, "thermo@2.0.0", {"stop": "none"})
    for _ in range(3):
        for board in (one, one, two, two):
            cloud.now_s += 60
            board.check_in()
    assert audited_subjects(cloud, "device.shared") == ["D1"] and overview.update(cloud.site, "thermo@2.0.0")[
        "ended"
    ] == {"confirmed": 5}
    rows = [row["detail"] for row in cloud.site.database.read(audit.newest) if row["action"] == "device.shared"]
    assert rows == [{"product": "thermo", "sign": "version"}]


def test_one_board_is_never_detected_as_two(cloud):
    """The board restarts, updates, reverts and tries again; finally, the server's clock is set back."""
    ask(cloud, "D1")
    board = Board(cloud, True)
    cloud.publish("2.0.0")
    for _ in range(3):
        cloud.now_s += HOUR
        board.check_in()
        cloud.now_s += 60
        board.apply("2.0.0")
        cloud.now_s += 5
        board.check_in()
        cloud.now_s += 60
        board.apply("1.0.0")
        cloud.now_s += 5
        # The reverted update is detected at once, because the check-in shows that the board has restarted.
        assert board.check_in() is None and state(cloud, "D1") == "reverted"
        cloud.now_s += DAY
    cloud.now_s -= 2 * DAY
    board.booted_s -= 2 * DAY
    for _ in range(100):
        cloud.now_s += HOUR
        board.check_in()
    assert audited_subjects(cloud, "device.shared") == [] and overview.device(cloud.site, "D1")["doubts"] == []


def test_a_board_that_reverts_after_the_clock_was_ahead_is_one_board(cloud):
    """The board confirms the update while the clock is two days ahead, and reverts it when the clock is right again."""
    ask(cloud, "D1")
    cloud.publish("2.0.0")
    board = Board(cloud, True)
    cloud.now_s += 2 * DAY
    board.booted_s += 2 * DAY
    assert board.check_in() == "2.0.0"
    board.apply("2.0.0")
    board.check_in()
    assert state(cloud, "D1") == "confirmed"
    cloud.now_s -= 2 * DAY
    board.apply("1.0.0")
    board.check_in()
    assert state(cloud, "D1") == "reverted"
    cloud.publish("2.0.1")
    assert board.check_in() == "2.0.1" and not audited_subjects(cloud, "device.shared")


def test_claiming_one_of_the_boards_clears_the_signs(cloud, make_clones):
    one, two = make_clones(True)
    for _ in range(3):
        for board in (one, two):
            cloud.now_s += HOUR
            board.check_in()
    assert audited_subjects(cloud, "device.shared") == ["D1"]
    control.claim(cloud.site, "D1")
    old, cloud.tokens["D1"] = cloud.tokens["D1"], cloud.device("D1")
    one.check_in()
    assert not is_accepted(cloud, old)
    device = overview.device(cloud.site, "D1")
    assert device["shared_s"] is None and [each["says"] for each in device["doubts"]] == [
        "a token was used after another one had replaced it, so two boards have this device's tokens: run `ioto device "
        "revoke`, then `ioto device claim`"
    ]
