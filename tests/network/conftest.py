"""Fixtures that start the servers of the network tests."""

import ssl

import pytest
from loopback import Datagrams, Server


@pytest.fixture
def serve():
    """serve(answer) starts a server; if `answer` is bytes, they are sent, and the connection is closed."""
    servers = []

    def start(answer, **options):
        if isinstance(answer, bytes):
            reply = answer
            answer = lambda conn, request: conn.sendall(reply)
        servers.append(Server(answer, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A folder with ca.pem and a certificate server.pem for this machine."""
    from ioto_tools.cloud.site import certificates

    folder = tmp_path_factory.mktemp("authority")
    certificates.make(folder, ["localhost", "127.0.0.1"])
    return folder


@pytest.fixture
def serve_tls(serve, authority):
    """Like `serve`, but over TLS; `serve_tls.trust[transport]` contains the options for a case of that transport."""

    def start(answer, **options):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority / "server.pem", authority / "server.key")
        return serve(answer, context=context, **options)

    start.trust = {
        "asyncio": {"ca": str(authority / "ca.pem"), "limit_ms": 5000},
        "urequests": {"unverified": True, "limit_ms": 5000},
    }
    return start


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
