"""The simulated network: events are reported once, and refused connections fail as on the chip."""

from ioto_tools.virtual_board.clock import Clock
from ioto_tools.virtual_board.simulated_network import SimulatedNetwork
from ioto_tools.virtual_board.sockets import Socket


def test_data_that_arrives_between_poll_and_wait_is_not_missed():
    clock = Clock()
    network = SimulatedNetwork()
    network.power_on(clock)
    sock = network.socks[1] = Socket(1, ready_us=0)
    sock.inbox.append([500, b"x"])
    assert network.flags(1, 5) == 4 and network.next_us() == 500  # not yet
    clock.advance(501)  # the program computes between poll and wait
    assert network.next_us() == 500, "missed: the program would wait forever"
    assert network.flags(1, 5) == 5 and network.next_us() == float("inf")
    assert network.recv(1, 9) == (1, b"x")
    sock.inbox.append([900, b"y"])
    assert network.next_us() == 900


def test_a_connection_that_is_refused_fails_at_the_first_write():
    """The chip does the same; here, the connection goes through the network of this machine."""
    network = SimulatedNetwork(outside=True)
    network.power_on(Clock(real=True))
    n = network.socket(1)
    assert network.connect(n, "127.0.0.1", 9) == -119
    network.socks[n].ready_us = 0
    assert network.send(n, b"GET") == -104
