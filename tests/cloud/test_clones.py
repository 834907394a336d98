"""Two boards with one flash image, so with one id and one token: seen, shown, and kept out of the stop rule."""

import pytest
from asking import ask, state, tell
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.storage import audit
from test_tokens import DAY, ok, told

HOUR = 3600


class Board:
    """One of several with the id and token of D1. `says`: it tells since when it runs."""

    def __init__(self, cloud, says, version="1.0.0"):
        self.cloud, self.says, self.version, self.booted_s = cloud, says, version, cloud.now_s

    def check_in(self):
        up = {"up": self.cloud.now_s - self.booted_s} if self.says else {}
        reply = self.cloud.check_in("D1", self.cloud.tokens["D1"], self.version, **up)
        assert reply.status == 200
        return reply.json().get("version")

    def apply(self, version):
        self.version, self.booted_s = version, self.cloud.now_s


@pytest.fixture
def told_by(cloud):
    """told_by(says) is two boards with one id, and a release that would be paused by one bad end in six."""

    def make(says):
        for n in range(2, 7):
            ask(cloud, "D%d" % n)
        ask(cloud, "D1")
        boards = []
        for _ in range(2):
            cloud.now_s += HOUR
            boards.append(Board(cloud, says))
        cloud.publish("2.0.0", stop="10% after 6")
        for n in range(2, 7):
            assert ask(cloud, "D%d" % n) == "2.0.0"
            tell(cloud, "D%d" % n, "confirmed")
        return boards

    return make


@pytest.mark.parametrize("says", [True, False])
def test_two_boards_with_one_flash_image_stop_no_release(cloud, told_by, says):
    one, two = told_by(says)
    assert one.check_in() == "2.0.0"
    cloud.now_s += 60
    one.apply("2.0.0")
    counted = []
    for _ in range(10):
        for board in (one, two):
            cloud.now_s += HOUR
            board.check_in()
            counted.append(
                (bool(told(cloud, "device.shared")), overview.update(cloud.site, "thermo@2.0.0")["ended"]["confirmed"])
            )
    assert set(counted) == ({(False, 6), (True, 5)} if says else {(False, 6)})  # from the sign on
    update = overview.update(cloud.site, "thermo@2.0.0")
    assert update["state"] == "active" and not any(each in update["ended"] for each in ("reverted", "failed"))
    if says:
        assert told(cloud, "device.shared") == ["D1"]
        assert any("share this id" in each["says"] for each in overview.device(cloud.site, "D1")["doubts"])
        assert update["ended"] == {"confirmed": 5}  # D1 does not count
        assert two.check_in() == "2.0.0"  # and both are served


def test_boards_that_say_nothing_of_their_start_are_told_by_what_the_update_came_to(cloud, told_by):
    """Each checks in twice in a row now and then: the update is taken back, and runs again without an offer."""
    one, two = told_by(False)
    assert one.check_in() == "2.0.0"
    one.apply("2.0.0")
    control.set_terms(cloud.site, "thermo@2.0.0", {"stop": "none"})
    for _ in range(3):
        for board in (one, one, two, two):
            cloud.now_s += 60
            board.check_in()
    assert told(cloud, "device.shared") == ["D1"] and overview.update(cloud.site, "thermo@2.0.0")["ended"] == {
        "confirmed": 5
    }
    rows = [row["detail"] for row in cloud.site.database.read(audit.last) if row["action"] == "device.shared"]
    assert rows == [{"product": "thermo", "sign": "version"}]


def test_one_board_is_never_taken_for_two(cloud):
    """It restarts, updates, goes back, tries again; the server's clock is set back once; it loses its flash."""
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
        assert (
            board.check_in() is None and state(cloud, "D1") == "reverted"
        )  # at once: it says that it has started since
        cloud.now_s += DAY
    cloud.now_s -= 2 * DAY
    board.booted_s -= 2 * DAY
    for _ in range(100):
        cloud.now_s += HOUR
        board.check_in()
    assert told(cloud, "device.shared") == [] and overview.device(cloud.site, "D1")["doubts"] == []


def test_a_board_that_went_back_after_the_clock_was_ahead_is_one_board(cloud):
    """It confirmed while the clock was two days ahead, and goes back when it is right: reverted, no clone, and the next
    release is for it.
    """
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
    assert board.check_in() == "2.0.1" and not told(cloud, "device.shared")


def test_an_operator_who_claims_the_right_board_ends_the_doubt(cloud, told_by):
    one, two = told_by(True)
    for _ in range(3):
        for board in (one, two):
            cloud.now_s += HOUR
            board.check_in()
    assert told(cloud, "device.shared") == ["D1"]
    control.claim(cloud.site, "D1")
    old, cloud.tokens["D1"] = cloud.tokens["D1"], cloud.device("D1")
    one.check_in()
    assert not ok(cloud, old)
    device = overview.device(cloud.site, "D1")
    assert device["shared_s"] is None and [each["says"] for each in device["doubts"]] == [
        "a token was used after another one had replaced it: two boards have this device's tokens: `ioto device "
        "revoke`, then `ioto device claim`"
    ]
