"""What has come since the last look is told once, however late the look."""

from ioto_tools.board.clock import Clock
from ioto_tools.board.simulated_network import SimulatedNetwork
from ioto_tools.board.sockets import Socket


def test_what_came_between_looking_and_waiting_is_not_missed():
    clock = Clock()
    air = SimulatedNetwork()
    air.power_on(clock)
    sock = air.socks[1] = Socket(1, ready_us=0)
    sock.inbox.append([500, b"x"])
    assert air.flags(1, 5) == 4 and air.next_us() == 500  # not yet: it is waited for
    clock.advance(501)  # the program computes between its look and its waiting
    assert air.next_us() == 500, "missed: the program would wait for ever"
    assert air.flags(1, 5) == 5 and air.next_us() == float("inf")
    assert air.recv(1, 9) == (1, b"x")
    sock.inbox.append([900, b"y"])
    assert air.next_us() == 900


def test_a_server_that_is_not_there_is_a_refusal():
    """Of this machine's own network too: it shows in the first write, as on the chip, and ends nothing."""
    air = SimulatedNetwork(outside=True)
    air.power_on(Clock(real=True))
    n = air.socket(1)
    assert air.connect(n, "127.0.0.1", 9) == -119
    air.socks[n].ready_us = 0
    assert air.send(n, b"GET") == -104
