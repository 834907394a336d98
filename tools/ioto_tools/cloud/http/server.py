"""Runs the application under uvicorn, with a limit on every wait for a client."""

import asyncio
import logging
import signal
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import workers
from .connection_limits import (
    IDLE_S,
    MAX_CONNECTIONS,
    PER_ADDRESS,
    Connections,
    limited_protocol,
    within_open_file_limit,
)
from .errors import CloudError, Refusal
from .json_log import log_to_stderr
from .request_log import AccessLog
from .timeouts import Timeouts

BODY_S = 30  # for the next part of a request's body; the whole body may take this time plus its size / BODY_BYTES_S
BODY_BYTES_S = 1024  # minimum average rate of a body, in bytes a second
# For a client to read the next part of an image. Throttled boards are slow, but dead connections must be closed.
SEND_S = 900
STOP_S = 5  # for running downloads when the server stops; devices resume them


@dataclass(frozen=True)
class Options:
    """`certificate` and `key`: PEM files for TLS. `connections` (in total) and `per_address`: limits of each worker.

    `json_log`: log JSON Lines instead of text.
    """

    certificate: str | None = None
    key: str | None = None
    connections: int = MAX_CONNECTIONS
    per_address: int = PER_ADDRESS
    access_log: bool = False
    json_log: bool = False


def serve(
    make_app: Callable[[], Starlette],
    host: str,
    port: int,
    ready: Callable[[int], None],
    options: Options = Options(),
    count: int = 1,
    said: Callable[[str], None] = print,
) -> None:
    """Serve the application that make_app() returns until SIGINT or SIGTERM.

    `port` 0: any free port. ready(port) is called once the server accepts connections. `count`: the number of
    processes; if there are several, make_app must be picklable, and said(text) is called when a process is replaced.
    CloudError if an option is invalid.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: finish running requests, close the site
    if options.certificate:
        _check_certificate(options.certificate, options.key)
    with _listen(host, port) as listening:
        port = listening.getsockname()[1]
        if count == 1:
            _serve(lambda: ready(port), make_app, listening, options)
            return
        make_app().state.site.close()  # so that an error of the site is reported once, not by each worker
        workers.run(count, _serve, make_app, listening, options, ready=lambda: ready(port), said=said)


def _serve(
    ready: Callable[[], None], make_app: Callable[[], Starlette], listening: socket.socket, options: Options
) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    log_to_stderr(options.json_log)
    logging.getLogger("ioto.cloud.access").setLevel(logging.INFO if options.access_log else logging.WARNING)
    app = make_app()
    # Uploads go to the disk of the images, not to a small /tmp.
    tempfile.tempdir = app.state.site.images.create_folder()
    limited = _limited(app)
    most = within_open_file_limit(options.connections)
    config = uvicorn.Config(
        AccessLog(limited) if options.access_log else limited,
        http=limited_protocol(Connections(most, options.per_address)),
        # asyncio also uses `backlog` as the number of connections to accept in one iteration of the event loop. At the
        # limit, the connection that has waited longest for a request is closed. With a backlog below the limit, a
        # request that has arrived is read before its connection has waited longest.
        backlog=min(2048, most // 4 + 1),
        timeout_keep_alive=IDLE_S,
        loop="asyncio",
        lifespan="on",
        log_level="warning",
        access_log=False,
        log_config=None,
        server_header=False,
        forwarded_allow_ips="127.0.0.1,::1",
        timeout_graceful_shutdown=STOP_S,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
    )
    try:
        _Server(config, ready).run(sockets=[listening])
    except KeyboardInterrupt:  # uvicorn raises the signal again after it has stopped
        pass
    finally:
        app.state.site.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # After a second Ctrl-C, uvicorn does not end the lifespan, and the event loop would end it with a traceback.
        if self.force_exit:
            await self.lifespan.shutdown()


def _check_certificate(certificate: str, key: str | None) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: "")  # no prompt in a service
    except (OSError, ValueError) as e:  # ssl.SSLError too
        raise CloudError(
            "%s and %s are not a PEM certificate and its private key (%s): create them with `ioto cloud certificate`"
            % (certificate, key, e)
        ) from e


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as e:
        raise CloudError("%s port %d: %s: choose another with --host and --port" % (host, port, e.strerror or e)) from e
    # asyncio sets this for its own sockets only. Without it, the body of a response waits 40 ms for the client's ACK.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _limited(app: ASGIApp) -> ASGIApp:
    """Wrap `app` with a limit on each wait, and with response heads that EmbedThis' C updater can read.

    The updater searches for `Content-Length` in exactly this spelling, and can't read it if it is the last header.
    """

    waits = Timeouts()

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the lifespan, which lasts until the server stops
            return await app(scope, receive, send)

        loop = asyncio.get_running_loop()
        started_at, size = loop.time(), 0

        async def receive_in_time() -> Message:
            nonlocal size
            left_s = BODY_S + size / BODY_BYTES_S - (loop.time() - started_at)
            try:
                message = await waits.wait(receive(), max(0, min(BODY_S, left_s)))
            except TimeoutError:
                raise Refusal(408, "body: it arrived too slowly: send it again") from None
            size += len(message.get("body", b""))
            return message

        def send_in_time(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                headers = [(name.title(), value) for name, value in message["headers"]]
                message["headers"] = sorted(headers, key=lambda header: header[0] != b"Content-Length")
            return waits.wait(send(message), SEND_S)

        return await app(scope, receive_in_time, send_in_time)

    return limited
