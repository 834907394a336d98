"""Carries what webhooks.py has to tell: one task of each worker beside the answers to devices, a thread for each URL at work."""

import asyncio
import functools
import http.client
import ssl
from urllib.parse import urlsplit

from . import webhooks
from .refusal import Unavailable

LOOK_S = 1
WAIT_S = 10  # for the other side, at each step


async def run(site, database):
    """For ever. `database(function, *arguments)` waits for the site's database."""
    while True:
        try:
            if not await once(site, database):
                await asyncio.sleep(LOOK_S)
        except (OSError, Unavailable):  # the database: what is to be told waits in it
            await asyncio.sleep(LOOK_S)


async def once(site, database):
    """Tell everything that is due now, once; how much that was."""
    if not await database(site.database.read, webhooks.waits, site.now_s()):
        return 0
    rows = await database(site.database.write, webhooks.take, site.now_s())
    for error in await asyncio.gather(*(_tell(site, database, row) for row in rows), return_exceptions=True):
        if error:
            raise error  # what was not settled is told once more
    return len(rows)


async def _tell(site, database, row):
    error = await asyncio.to_thread(post, row, site.now_s())
    await database(site.database.write, webhooks.settle, row, error, site.now_s())


def post(row, now_s):
    """Post one row; "" or in words why it was not taken. Redirects are not followed: the secret's owner is at this URL."""
    headers, body = webhooks.message(row, now_s)
    parts = urlsplit(row["url"])
    try:
        connection = _connection(parts)
        try:
            connection.request("POST", (parts.path or "/") + ("?" + parts.query if parts.query else ""), body, headers)
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as e:
        return "%s: %s" % (type(e).__name__, e)
    return "" if 200 <= status < 300 else "status %d" % status


def _connection(parts):
    if parts.scheme == "https":
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=WAIT_S, context=_context())
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=WAIT_S)


@functools.cache
def _context():
    return ssl.create_default_context()
