"""Runs the application under uvicorn, with a limit on every wait for a client."""

import signal
import socket
import ssl

import uvicorn

from . import workers
from .refusal import CloudError
from .waits import Waits

BODY_S = 30  # for the next part of a request's body
SEND_S = 900  # for a client to take the next part of an image; a throttled board is slow, a dead one must not stay
STOP_S = 5  # for downloads under way when the server is asked to stop; devices resume them


def serve(make_app, host, port, ready, certificate=None, key=None, count=1, said=print):
    """Serve what make_app() gives until SIGINT or SIGTERM; ready(port) is called when connections are accepted.

    `port` 0: any free one. `certificate` and `key` are PEM files: then it is TLS. With a `count` so many processes serve, for
    which make_app can be pickled; said(text) tells that one was replaced. CloudError for what will not do.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what is under way is ended, the site closed
    if certificate:
        _look(certificate, key)
    with _listen(host, port) as listening:
        port = listening.getsockname()[1]
        if count == 1:
            _serve(lambda: ready(port), make_app, listening, certificate, key)
            return
        make_app().state.site.close()  # what is wrong with it is told once
        workers.run(count, _serve, make_app, listening, certificate, key, ready=lambda: ready(port), said=said)


def _serve(ready, make_app, listening, certificate, key):
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app = make_app()
    config = uvicorn.Config(
        _limited(app),
        http="h11",
        loop="asyncio",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        forwarded_allow_ips="127.0.0.1,::1",
        timeout_graceful_shutdown=STOP_S,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    try:
        _Server(config, ready).run(sockets=[listening])
    except KeyboardInterrupt:  # uvicorn raises the signal again after it has stopped
        pass
    finally:
        app.state.site.close()


class _Server(uvicorn.Server):
    def __init__(self, config, ready):
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets=None):
        await super().startup(sockets)
        if self.started:
            self._ready()


def _look(certificate, key):
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: "")  # no prompt in a service
    except (OSError, ValueError) as e:  # ssl.SSLError too
        raise CloudError("%s, %s: no certificate with its key in PEM: %s" % (certificate, key, e)) from e


def _listen(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as e:
        raise CloudError("%s port %d: %s: choose another with --host and --port" % (host, port, e.strerror or e)) from e
    # asyncio sets it for sockets that it makes itself. Without it the body of an answer waits 40 ms for the other side's ACK.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _limited(app):
    """`app` with a limit on each wait, and header names spelt as the C updater searches them: `Content-Length`."""

    waits = Waits()

    async def limited(scope, receive, send):
        if scope["type"] != "http":  # the lifespan: it waits for the end of the server
            return await app(scope, receive, send)

        def receive_soon():
            return waits.wait(receive(), BODY_S)

        def send_soon(message):
            if message["type"] == "http.response.start":
                message["headers"] = [(name.title(), value) for name, value in message["headers"]]
            return waits.wait(send(message), SEND_S)

        return await app(scope, receive_soon, send_soon)

    return limited
