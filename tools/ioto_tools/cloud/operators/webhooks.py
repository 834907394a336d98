"""Webhooks: signed audit events, posted to a URL until it accepts them or a day has passed.

Pending events are rows of `deliveries`, written in the transaction of the change itself (audit.note). So no event is
lost in a crash, and callers never wait for the webhook's server. A worker leases due events for LEASE_S, posts them
and stores the outcome. If the worker dies, another one takes the events after that time. So events may arrive twice or
out of order: deduplicate by `id`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..http.addresses import is_http_url
from ..http.errors import CloudError, Missing
from ..rules.update_states import CLOCK_TOLERANCE_S
from ..storage import audit
from ..storage.tables import Row, deliveries, webhooks
from ..storage.tables import audit as events

if TYPE_CHECKING:
    from ..site.site import Site

LEASE_S = 60
RETRY_S = 10  # delay after the first failure; doubled after each further one
LONGEST_S = 3600  # the longest delay
GIVE_UP_S = 24 * 3600
AT_ONCE = 20  # maximum number of events leased in one transaction


def new(site: "Site", url: str, wanted: Sequence[str] = ()) -> Row:
    """Create a webhook for the actions `wanted`, a selection from audit.ACTIONS; if it is empty, for all actions.

    Return its row with the `secret`, which is shown only once.
    """
    if not is_http_url(url):
        raise CloudError(
            "%s: expected: the URL of a webhook, https://... or http://..., in ASCII, without a password" % url[:80]
        )
    for action in wanted:
        if action not in audit.ACTIONS:
            raise CloudError("event %s: unknown; the known events are: %s" % (action, ", ".join(audit.ACTIONS)))
    id, secret = site.random_bytes(4).hex(), site.random_bytes(32).hex()
    row = {
        "id": id,
        "url": url,
        "secret": secret,
        "wanted": " ".join(wanted),
        "created_s": site.now_s(),
        "delivered_s": None,
        "error": "",
    }
    site.database.write(_new, row, site.who)
    return {**_shown({**row, "waiting": 0}), "secret": secret}


def _new(conn: sa.Connection, row: Row, who: str) -> None:
    audit.note(conn, row["created_s"], who, "webhook.new", row["id"])
    conn.execute(webhooks.insert().values(row))


def _shown(row: Row) -> Row:
    """A webhook's row as listed() returns it."""
    kept = ("id", "url", "created_s", "delivered_s", "error", "waiting")
    return {**{name: row[name] for name in kept}, "wanted": row["wanted"].split()}


def listed(site: "Site") -> list[Row]:
    """All webhooks: [{id, url, wanted, created_s, delivered_s, error, waiting}].

    `waiting`: number of pending events; `error`: of the last post.
    """
    return [_shown(row) for row in site.database.read(_listed)]


def _listed(conn: sa.Connection) -> list[Row]:
    waiting = sa.select(sa.func.count()).where(deliveries.c.webhook == webhooks.c.id).scalar_subquery()
    return [
        dict(row)
        for row in conn.execute(
            sa.select(webhooks, waiting.label("waiting")).order_by(webhooks.c.created_s, webhooks.c.id)
        ).mappings()
    ]


def remove(site: "Site", id: str) -> None:
    """Delete the webhook and its pending events."""
    site.database.write(_remove, id, site.now_s(), site.who)


def _remove(conn: sa.Connection, id: str, now_s: int, who: str) -> None:
    find(conn, id)
    conn.execute(deliveries.delete().where(deliveries.c.webhook == id))
    conn.execute(webhooks.delete().where(webhooks.c.id == id))
    audit.note(conn, now_s, who, "webhook.removed", id)


def find(conn: sa.Connection, id: str) -> Row:
    """The webhook's row. Raises Missing if there is none."""
    found = conn.execute(sa.select(webhooks).where(webhooks.c.id == id)).mappings().first()
    if found is None:
        raise Missing("webhook %s: not found; `ioto webhook list` lists the webhooks" % id)
    return dict(found)


def test(site: "Site", id: str) -> None:
    """Send a test event to this webhook only; listed() shows when it was delivered."""
    site.database.write(_test, id, site.now_s(), site.who)


def _test(conn: sa.Connection, id: str, now_s: int, who: str) -> None:
    find(conn, id)
    audit.note(conn, now_s, who, "webhook.test", id)


# ---- delivery


def is_any_due(conn: sa.Connection, now_s: int, but: Sequence[str] = ()) -> bool:
    """Is any event due, for webhooks that are not in `but`?"""
    return conn.execute(sa.select(deliveries.c.event).where(_due(now_s, but)).limit(1)).first() is not None


def _due(now_s: int, but: Sequence[str]) -> sa.ColumnElement[bool]:
    # No retry is scheduled more than LONGEST_S ahead: a row with a later time was written while the clock was ahead.
    due = sa.or_(deliveries.c.due_s <= now_s, deliveries.c.due_s > now_s + LONGEST_S + CLOCK_TOLERANCE_S)
    return sa.and_(due, deliveries.c.webhook.not_in(but))


def lease_due(conn: sa.Connection, now_s: int, but: Sequence[str] = ()) -> list[Row]:
    """Lease up to AT_ONCE due events of webhooks that are not in `but`, for LEASE_S.

    Return [{webhook, url, secret, tries, id, at_s, who, action, subject, detail}]. No other worker takes them
    meanwhile.
    """
    found = sa.select(deliveries, webhooks.c.url, webhooks.c.secret, events).join(
        webhooks, webhooks.c.id == deliveries.c.webhook
    )
    found = (
        found.join(events, events.c.id == deliveries.c.event)
        .where(_due(now_s, but))
        .order_by(deliveries.c.due_s, deliveries.c.event)
    )
    taken = []
    for row in conn.execute(found.limit(AT_ONCE)).mappings().all():
        mine = deliveries.update().where(_delivery(row["webhook"], row["id"]), deliveries.c.due_s == row["due_s"])
        if conn.execute(mine.values(due_s=now_s + LEASE_S)).rowcount:
            taken.append(dict(row))
    return taken


def _delivery(webhook: str, event: int) -> sa.ColumnElement[bool]:
    return sa.and_(deliveries.c.webhook == webhook, deliveries.c.event == event)


def record_outcome(conn: sa.Connection, row: Row, error: str, now_s: int) -> None:
    """Store the outcome of posting a row from lease_due(). `error`: "" after a success."""
    values = {"error": error[:256]} if error else {"error": "", "delivered_s": now_s}
    conn.execute(webhooks.update().where(webhooks.c.id == row["webhook"]).values(values))
    this = _delivery(row["webhook"], row["id"])
    if error and now_s - row["at_s"] < GIVE_UP_S:
        due_s = now_s + min(LONGEST_S, RETRY_S * 2 ** min(row["tries"], 20))
        conn.execute(deliveries.update().where(this).values(tries=row["tries"] + 1, due_s=due_s))
        return
    conn.execute(deliveries.delete().where(this))
    if error:
        audit.note(conn, now_s, audit.CLOUD, "webhook.gave_up", row["webhook"], event=row["id"], error=error[:256])
