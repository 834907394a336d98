"""Joins the head and the body of a response into one write: one system call and one packet instead of two."""

import asyncio

_MOST_BYTES = 2048  # longer data is written at once: another system call costs less than copying it


class JoinedWrites:
    """What uvicorn uses of the transport `inner`.

    Short data reaches `inner` together with the next data, or in the next iteration of the event loop.
    """

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop
        self._held = b""
        self.get_extra_info = inner.get_extra_info
        self.is_closing = inner.is_closing
        self.pause_reading = inner.pause_reading
        self.resume_reading = inner.resume_reading
        self.set_protocol = inner.set_protocol

    def write(self, data: bytes) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._inner.write(held + data)
        elif len(data) > _MOST_BYTES:
            self._inner.write(data)
        elif data:
            self._held = data
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._held:
            self.write(b"")

    def close(self) -> None:
        """Close the connection after everything is sent."""
        self._flush()
        self._inner.close()

    def abort(self) -> None:
        self._held = b""
        self._inner.abort()
