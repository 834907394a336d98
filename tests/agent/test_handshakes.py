"""TLS handshakes, which are the longest pauses, are counted for a day without an update and for a whole update."""

import pytest
from ioto_tools.virtual_board.peers import TlsServer
from rig import Rig, server_context


class Counting(TlsServer):
    """`seen` gets (time, requests) for each connection; requests are appended while it is open."""

    def __init__(self, peer, now):
        super().__init__(peer, server_context())
        self.now, self.seen = now, []

    def connection(self, air, sock):
        made = super().connection(air, sock)
        requests = []
        self.seen.append((self.now(), requests))
        answer = made.inside.answer

        def counted(http):
            requests.append(http.request.target.decode().split("/")[-1])
            answer(http)

        made.inside.answer = counted
        return made


def counted(tmp_path, **options):
    rig = Rig(tmp_path, **options)
    address = (rig.air.names["cloud.test"], 443)
    peer = rig.air.peers[address] = Counting(rig.air.peers[address].peer, rig.now)
    return rig, peer


@pytest.mark.sweep
def test_handshakes_of_a_day_without_an_update(tmp_path):
    """There is one handshake for each check-in; the registration shares the first one."""
    rig, peer = counted(tmp_path)
    rig.run(until_s=86400)
    asked = [requests for _, requests in peer.seen]
    assert asked[0] == ["register", "update"]
    assert asked[1:] == [["update"]] * len(asked[1:]) and 23 <= len(asked) <= 25


def test_handshakes_of_an_update(tmp_path):
    """One each for the check-in with its report, the image, the check-in of the trial, and the reports after it."""
    rig, peer = counted(tmp_path)
    rig.run(until_s=60)
    del peer.seen[:]
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=7000)
    assert "CONFIRMED 1.0.1" in run.console
    asked = [["image" if "?" in each else each for each in requests] for _, requests in peer.seen]
    assert asked[:4] == [["update", "updateReport"], ["image"], ["update"], ["updateReport"] * 3], asked
    assert asked[4:] == [["update"]] * len(asked[4:]), asked
