"""Who did what, to what, when: a row in the same transaction as the deed, so that neither is without the other.

The rows are also the events of the site: with each, a delivery is entered for every webhook that wants it (webhooks.py).
"""

import json

import sqlalchemy as sa

from .tables import audit, deliveries, devices, products, webhooks

CLOUD = "cloud"  # what the cloud did by itself, such as a stop rule
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


def note(conn, now_s, who, action, subject, **detail):
    """`subject`: the id of the product, update or device it is about; `detail`: what JSON can hold."""
    row = {"at_s": now_s, "who": who, "action": action, "subject": subject, "detail": json.dumps(detail)}
    id = conn.execute(audit.insert().values(row)).inserted_primary_key[0]
    for each in conn.execute(sa.select(webhooks.c.id, webhooks.c.wanted)).all():
        if _wants(each, action, subject):
            conn.execute(deliveries.insert().values(webhook=each.id, event=id, tries=0, due_s=now_s))


def note_device(conn, now_s, who, action, device, **detail):
    """note() about a device (its key): the subject is its id, and the detail says of which `product` (the name)."""
    found = sa.select(devices.c.id, products.c.name).join(products).where(devices.c.key == device)
    id, product = conn.execute(found).one()
    note(conn, now_s, who, action, id, product=product, **detail)


def _wants(webhook, action, subject):
    if action == "webhook.test":
        return subject == webhook.id
    if action == "webhook.gave_up" and subject == webhook.id:
        return False  # it would not hear this either
    return not webhook.wanted or action in webhook.wanted.split()


def last(conn, most=100, subject=None, before=None):
    """[{id, at_s, who, action, subject, detail}], the newest first; those before the row `before` (an id), if there is one."""
    found = sa.select(audit).order_by(audit.c.id.desc()).limit(most)
    if subject:
        found = found.where(audit.c.subject == subject)
    if before is not None:
        found = found.where(audit.c.id < before)
    rows = conn.execute(found).mappings()
    return [dict(row, detail=json.loads(row["detail"])) for row in rows]
