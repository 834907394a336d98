"""Health checks for load balancers and service managers: can the site serve devices?

Any running process answers `GET /health/alive`. `GET /health` returns 200 if the site can serve devices, else 503 with
the reasons.
"""

import logging
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ..http.errors import Unavailable

if TYPE_CHECKING:
    from ..site.site import Site

LEAST_BYTES = 16 * 1024 * 1024  # required free space on the site's disk; with less, any write may fail
KEPT_S = 1  # a result is reused for this long, because any client may send any number of requests
_log = logging.getLogger("ioto.cloud")


class Health:
    """The last result for a site. An S3-compatible store is not checked: devices check in and report without it."""

    def __init__(self, site: "Site") -> None:
        self._site = site
        self._checked_s: float | None = None
        self._reasons: list[str] = []

    def reasons(self) -> list[str]:
        """Why the site can't serve devices; [] if it can. A change is logged, with details."""
        now_s = self._site.clock()
        if self._checked_s is None or not 0 <= now_s - self._checked_s < KEPT_S:
            self._checked_s = now_s
            found = dict(_found(self._site))
            if list(found) != self._reasons:
                _log.warning("health: %s", "; ".join(found.values()) or "ready again")
            self._reasons = list(found)
        return self._reasons


def _found(site: "Site") -> Iterator[tuple[str, str]]:
    """Yield (reason, the same reason with details that are for operators only)."""
    try:
        site.database.read(_one)
    except (OSError, Unavailable) as e:
        yield "the database does not answer", "the database does not answer: %s" % e
    try:
        free = shutil.disk_usage(site.data).free
    except OSError as e:
        yield "the site's folder can't be read", "%s: %s" % (site.data, e)
    else:
        if free < LEAST_BYTES:
            yield "the disk is full", "%s: %d bytes are free on the disk" % (site.data, free)


def _one(conn: sa.Connection) -> None:
    conn.execute(sa.text("SELECT 1"))


async def _alive(request: Request) -> JSONResponse:
    return JSONResponse({"status": "alive"})


async def _ready(request: Request) -> JSONResponse:
    state = request.app.state
    if reasons := await state.run(state.health.reasons):
        return JSONResponse({"status": "not ready", "reasons": reasons}, 503)
    return JSONResponse({"status": "ready"})


ROUTES = (Route("/health", _ready, methods=["GET"]), Route("/health/alive", _alive, methods=["GET"]))
