"""The audit log: who did what, to what, when. Each row is written in the transaction of the change itself.

The rows are also the site's events: each adds a delivery for every webhook that subscribes to it (webhooks.py).
"""

import json

import sqlalchemy as sa

from .tables import audit, deliveries, devices, products, webhooks

CLOUD = "cloud"  # the cloud itself, such as a stop rule
COMMAND = "command line"

ACTIONS = (
    "product.new", "group.set", "group.removed",
    "release.published", "release.set", "release.enabled", "release.disabled", "release.approved",
    "release.paused", "release.resumed", "release.cancelled", "release.stopped",
    "release.retried",
    "device.removed", "device.claimed", "device.released", "device.pinned", "device.unpinned",
    "device.new", "device.revoked", "device.rotated", "device.again", "device.taken_over",
    "device.refused", "device.two_hold", "device.shared", "product.many_new", "site.restored",
    "links.rotated", "token.new", "token.revoked", "webhook.new", "webhook.removed", "webhook.test", "webhook.gave_up",
)  # fmt: skip


def note(conn, now_s, who, action, subject, **detail) -> None:
    """Add a row. `subject`: the id of the product, update or device; `detail`: JSON-serializable values."""
    row = {"at_s": now_s, "who": who, "action": action, "subject": subject, "detail": json.dumps(detail)}
    id = conn.execute(audit.insert().values(row)).inserted_primary_key[0]
    for each in conn.execute(sa.select(webhooks.c.id, webhooks.c.wanted)).all():
        if _wants(each, action, subject):
            conn.execute(deliveries.insert().values(webhook=each.id, event=id, tries=0, due_s=now_s))


def note_device(conn, now_s, who, action, device, **detail) -> None:
    """note() about a device (its key): the subject is its id, and the detail contains its `product` (the name)."""
    found = sa.select(devices.c.id, products.c.name).join(products).where(devices.c.key == device)
    id, product = conn.execute(found).one()
    note(conn, now_s, who, action, id, product=product, **detail)


def _wants(webhook, action, subject):
    if action == "webhook.test":
        return subject == webhook.id
    if action == "webhook.gave_up" and subject == webhook.id:
        return False  # this would not reach it either
    return not webhook.wanted or action in webhook.wanted.split()


def last(conn, most: int = 100, subject=None, before=None):
    """[{id, at_s, who, action, subject, detail}], newest first; only rows before the row `before` (an id), if given."""
    found = sa.select(audit).order_by(audit.c.id.desc()).limit(most)
    if subject:
        found = found.where(audit.c.subject == subject)
    if before is not None:
        found = found.where(audit.c.id < before)
    rows = conn.execute(found).mappings()
    return [dict(row, detail=json.loads(row["detail"])) for row in rows]
