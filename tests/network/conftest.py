"""The fixture that every network test starts its servers with."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from hostile import Datagrams, Server  # noqa: E402


@pytest.fixture
def serve():
    """serve(answer) starts a server; bytes in the place of a function are sent, then the connection closes."""
    servers = []

    def start(answer, **options):
        if isinstance(answer, bytes):
            reply = answer
            answer = lambda conn, request: conn.sendall(reply)  # noqa: E731
        servers.append(Server(answer, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def datagrams():
    """datagrams(answer) starts a UDP server."""
    servers = []

    def start(answer, **options):
        servers.append(Datagrams(answer, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
