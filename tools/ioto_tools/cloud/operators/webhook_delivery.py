"""Posts the events of webhooks.py: one task in each worker, plus one for each webhook with due events.

A slow or unreachable webhook delays only its own events.
"""

import asyncio
import functools
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import h11

from ..http.errors import Unavailable
from ..storage.tables import Row
from . import webhook_signature, webhooks

if TYPE_CHECKING:
    from ..site.site import Site

POLL_S = 1
WAIT_S = 20  # timeout of one post, from the name lookup to the status
_READ_BYTES = 4096
Ask = Callable[..., Awaitable[Any]]  # ask(function, *arguments) waits for the site's database
_log = logging.getLogger("ioto.cloud")


async def run(site: "Site", database: Ask) -> None:
    """Run forever. `database(function, *arguments)` waits for the site's database."""
    working: dict[str, asyncio.Task[None]] = {}  # webhook -> task
    try:
        while True:
            try:
                taken = await _take_due(site, database, tuple(working))
            except (OSError, Unavailable) as e:  # the events remain in the database
                _log.error("webhooks: %s", e)
                taken = {}
            for webhook, rows in taken.items():
                working[webhook] = asyncio.create_task(_post_in_turn(site, database, rows))
                working[webhook].add_done_callback(functools.partial(_task_done, working, webhook))
            if not taken:
                await asyncio.sleep(POLL_S)
    finally:
        for task in working.values():
            task.cancel()


def _task_done(working: dict[str, asyncio.Task[None]], webhook: str, task: asyncio.Task[None]) -> None:
    del working[webhook]
    if not task.cancelled() and task.exception():  # its events are posted again after their lease
        _log.error("webhook %s: %s: %s", webhook, type(task.exception()).__name__, task.exception())


async def deliver_due(site: "Site", database: Ask) -> int:
    """Post every event that is due now, once; return the number of events."""
    taken = await _take_due(site, database)
    for error in await asyncio.gather(
        *(_post_in_turn(site, database, rows) for rows in taken.values()), return_exceptions=True
    ):
        if error:
            raise error
    return sum(map(len, taken.values()))


async def _take_due(site: "Site", database: Ask, but: Sequence[str] = ()) -> dict[str, list[Row]]:
    """Lease due events of webhooks that are not in `but`: {webhook: [row, ...]}."""
    if not await database(site.database.read, webhooks.is_any_due, site.now_s(), but):
        return {}
    taken: dict[str, list[Row]] = {}
    for row in await database(site.database.write, webhooks.lease_due, site.now_s(), but):
        taken.setdefault(row["webhook"], []).append(row)
    return taken


async def _post_in_turn(site: "Site", database: Ask, rows: list[Row]) -> None:
    """Post the rows of one webhook in turn.

    After a failure, the other rows are not posted: the same error is recorded for them, so they are retried later too.
    """
    until = asyncio.get_running_loop().time() + webhooks.LEASE_S - WAIT_S
    error = ""
    for row in rows:
        if asyncio.get_running_loop().time() > until:
            break  # the lease of the other rows is about to end: they will be leased again
        error = error or await post(row, site.now_s())
        await database(site.database.write, webhooks.record_outcome, row, error, site.now_s())


async def post_test(site: "Site", id: str) -> str:
    """Post a signed test event to the webhook now; return "" or an error text. Raises Missing if there is none."""
    event = {"id": 0, "at_s": site.now_s(), "who": site.who, "action": "webhook.test", "subject": id, "detail": "{}"}
    return await post({**site.database.read(webhooks.find, id), **event}, site.now_s())


async def post(row: Row, now_s: int) -> str:
    """Post one row; return "" or an error text.

    Redirects are not followed: only this URL belongs to the owner of the secret.
    """
    headers, body = webhook_signature.signed_message(row, now_s)
    try:
        async with asyncio.timeout(WAIT_S):
            status = await _send(urlsplit(row["url"]), headers, body)
    except TimeoutError:
        return "no answer within %d s" % WAIT_S
    except (OSError, h11.ProtocolError, ValueError) as e:
        return "%s: %s" % (type(e).__name__, e)
    return "" if 200 <= status < 300 else "status %d" % status


async def _send(parts: SplitResult, headers: dict[str, str], body: bytes) -> int:
    """Send the POST request; return the status of the response."""
    secure = parts.scheme == "https"
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or (443 if secure else 80), ssl=_context() if secure else None
    )
    try:
        target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        headers = {"Host": parts.netloc, "Connection": "close", "Content-Length": str(len(body)), **headers}
        http = h11.Connection(h11.CLIENT)
        request = h11.Request(method="POST", target=target, headers=list(headers.items()))
        writer.write(http.send(request) + http.send(h11.Data(data=body)) + http.send(h11.EndOfMessage()))
        await writer.drain()
        while True:
            event = http.next_event()
            if isinstance(event, h11.Response):
                return event.status_code
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(_READ_BYTES))
    finally:
        writer.transport.abort()


@functools.cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()
