"""Webhooks: every row of the audit that one wants is posted to its URL, signed, until it is taken or a day has passed.

What is to be told lies in `deliveries`, written with the deed itself (audit.note). So nothing is lost in a crash, and nobody who
changes something waits for anybody's server. A worker takes what is due for LEASE_S, posts it, and enters how it went; if it
dies, another takes it after that. So an event may come twice, and out of order: it has an `id`.
"""

import hashlib
import hmac
import json

import sqlalchemy as sa

from ..http.addresses import is_address
from ..http.errors import CloudError, Missing
from ..rules.update_states import AHEAD_S
from ..storage import audit
from ..storage.tables import audit as events
from ..storage.tables import deliveries, webhooks

LEASE_S = 60
AGAIN_S = 10  # after the first failure; then twice as long each time, up to
LONGEST_S = 3600
GIVE_UP_S = 24 * 3600
AT_ONCE = 20


def new(site, url, wanted=()):
    """Make a webhook for the actions `wanted` (of audit.ACTIONS; none: all): its row with the `secret`, shown this once."""
    if not is_address(url):
        raise CloudError("%s: expected: the https:// address of a webhook, in ASCII, without a password in it" % url[:80])
    for action in wanted:
        if action not in audit.ACTIONS:
            raise CloudError("event %s: unknown; known: %s" % (action, ", ".join(audit.ACTIONS)))
    id, secret = site.random_bytes(4).hex(), site.random_bytes(32).hex()
    row = {"id": id, "url": url, "secret": secret, "wanted": " ".join(wanted), "created_s": site.now_s(), "delivered_s": None, "error": ""}
    site.database.write(_new, row, site.who)
    return {**shown({**row, "waiting": 0}), "secret": secret}


def _new(conn, row, who):
    audit.note(conn, row["created_s"], who, "webhook.new", row["id"])
    conn.execute(webhooks.insert().values(row))


def shown(row):
    kept = ("id", "url", "created_s", "delivered_s", "error", "waiting")
    return {**{name: row[name] for name in kept}, "wanted": row["wanted"].split()}


def listed(site):
    """[{id, url, wanted, created_s, delivered_s, error, waiting}]: `waiting` events are to be told yet, `error` of the last try."""
    return [shown(row) for row in site.database.read(_listed)]


def _listed(conn):
    waiting = sa.select(sa.func.count()).where(deliveries.c.webhook == webhooks.c.id).scalar_subquery()
    return [dict(row) for row in conn.execute(sa.select(webhooks, waiting.label("waiting")).order_by(webhooks.c.created_s, webhooks.c.id)).mappings()]


def remove(site, id):
    """The webhook is told nothing more, not even what waits."""
    site.database.write(_remove, id, site.now_s(), site.who)


def _remove(conn, id, now_s, who):
    known(conn, id)
    conn.execute(deliveries.delete().where(deliveries.c.webhook == id))
    conn.execute(webhooks.delete().where(webhooks.c.id == id))
    audit.note(conn, now_s, who, "webhook.removed", id)


def known(conn, id):
    """The webhook's row. CloudError if there is none."""
    found = conn.execute(sa.select(webhooks).where(webhooks.c.id == id)).mappings().first()
    if found is None:
        raise Missing("webhook %s: not found; `ioto webhook list` lists them" % id)
    return dict(found)


def test(site, id):
    """Tell the webhook, and no other, that it is tried out; when it was told listed() shows."""
    site.database.write(_test, id, site.now_s(), site.who)


def _test(conn, id, now_s, who):
    known(conn, id)
    audit.note(conn, now_s, who, "webhook.test", id)


# ---- telling


def waits(conn, now_s, but=()):
    """Is anything due, of webhooks that are not in `but`?"""
    return conn.execute(sa.select(deliveries.c.event).where(_due(now_s, but)).limit(1)).first() is not None


def _due(now_s, but):
    # No retry is due this late: such a row was written while the clock was ahead.
    due = sa.or_(deliveries.c.due_s <= now_s, deliveries.c.due_s > now_s + LONGEST_S + AHEAD_S)
    return sa.and_(due, deliveries.c.webhook.not_in(but))


def take(conn, now_s, but=()):
    """What is due, up to AT_ONCE, of webhooks that are not in `but`: [{webhook, url, secret, tries, id, at_s, who, action, subject, detail}]. Nobody else takes it for LEASE_S."""
    found = sa.select(deliveries, webhooks.c.url, webhooks.c.secret, events).join(webhooks, webhooks.c.id == deliveries.c.webhook)
    found = found.join(events, events.c.id == deliveries.c.event).where(_due(now_s, but)).order_by(deliveries.c.due_s, deliveries.c.event)
    taken = []
    for row in conn.execute(found.limit(AT_ONCE)).mappings().all():
        mine = deliveries.update().where(_of(row["webhook"], row["id"]), deliveries.c.due_s == row["due_s"])
        if conn.execute(mine.values(due_s=now_s + LEASE_S)).rowcount:
            taken.append(dict(row))
    return taken


def _of(webhook, event):
    return sa.and_(deliveries.c.webhook == webhook, deliveries.c.event == event)


def settle(conn, row, error, now_s):
    """How it went with what take() gave: "" or what was wrong."""
    told = {"error": error[:256]} if error else {"error": "", "delivered_s": now_s}
    conn.execute(webhooks.update().where(webhooks.c.id == row["webhook"]).values(told))
    this = _of(row["webhook"], row["id"])
    if error and now_s - row["at_s"] < GIVE_UP_S:
        due_s = now_s + min(LONGEST_S, AGAIN_S * 2 ** min(row["tries"], 20))
        conn.execute(deliveries.update().where(this).values(tries=row["tries"] + 1, due_s=due_s))
        return
    conn.execute(deliveries.delete().where(this))
    if error:
        audit.note(conn, now_s, audit.CLOUD, "webhook.gave_up", row["webhook"], event=row["id"], error=error[:256])


def message(row, now_s):
    """(headers, body) of the POST about an audit row with its webhook's `secret`.

    `Ioto-Signature` is `t=SECONDS,v1=HEX`: the HMAC-SHA-256 of the seconds, a dot and the body under the secret.
    """
    fields = {**{name: row[name] for name in ("id", "at_s", "who", "action", "subject")}, "detail": json.loads(row["detail"])}
    body = json.dumps(fields, separators=(",", ":")).encode()
    signature = hmac.digest(row["secret"].encode(), b"%d.%s" % (now_s, body), hashlib.sha256).hex()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "ioto-cloud",
        "Ioto-Event": row["action"],
        "Ioto-Signature": "t=%d,v1=%s" % (now_s, signature),
    }
    return headers, body
