"""Streamed responses: each piece is sent as soon as it is made."""

from collections.abc import AsyncIterator, Iterator, Mapping

from starlette.requests import Request
from starlette.responses import StreamingResponse

from . import request_log
from .errors import CloudError, Unavailable


def stream(request: Request, pieces: Iterator[bytes], headers: Mapping[str, str]) -> StreamingResponse:
    """A response with these pieces. If one of them fails, the cause is logged and the response ends incomplete."""

    async def body() -> AsyncIterator[bytes]:
        try:
            while (piece := await request.app.state.run(next, pieces, None)) is not None:
                yield piece
        except (OSError, Unavailable, CloudError) as e:
            request_log.log_fault(request, e)
            raise

    return StreamingResponse(body(), headers=headers)
