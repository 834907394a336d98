"""The audit log: who did what, to what, when. Each row is written in the transaction of the change itself.

The rows are also the site's events: each adds a delivery for every webhook that subscribes to it (webhooks.py).
"""

import json
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from . import queries
from .tables import Row, audit, deliveries, devices, products, webhooks

CLOUD = "cloud"  # the cloud itself, for example a stop rule

ACTIONS = (
    "product.new", "product.set", "product.key", "product.deleted", "product.devices_claimed",
    "product.devices_removed", "product.devices_pinned", "product.devices_unpinned", "group.set", "group.removed",
    "release.published", "release.set", "release.enabled", "release.disabled", "release.approved",
    "release.paused", "release.resumed", "release.cancelled", "release.stopped",
    "release.retried", "release.archived", "release.deleted", "release.new_failure",
    "release.advanced", "release.held", "release.unheld",
    "device.removed", "device.claimed", "device.released", "device.pinned", "device.unpinned",
    "device.new", "device.revoked", "device.rotated", "device.again", "device.taken_over",
    "device.refused", "device.two_hold", "device.shared", "product.many_new",
    "site.backed_up", "site.restored", "links.rotated", "token.new", "token.revoked",
    "webhook.new", "webhook.removed", "webhook.test", "webhook.gave_up",
)  # fmt: skip


def note(conn: sa.Connection, now_s: int, who: str, action: str, subject: str, **detail: Any) -> int:
    """Add a row; return its id. `subject`: the id of the product, update or device; `detail`: JSON-serializable."""
    row = {"at_s": now_s, "who": who, "action": action, "subject": subject, "detail": json.dumps(detail)}
    inserted: Any = conn.execute(audit.insert().values(row)).inserted_primary_key
    for webhook in conn.execute(sa.select(webhooks.c.id, webhooks.c.wanted)).all():
        if _wants(webhook, action, subject):
            conn.execute(deliveries.insert().values(webhook=webhook.id, event=inserted[0], tries=0, due_s=now_s))
    id: int = inserted[0]
    return id


def row(conn: sa.Connection, id: int) -> Row | None:
    """The row with this id, as in newest(), or None."""
    found = conn.execute(sa.select(audit).where(audit.c.id == id)).mappings().first()
    return dict(found, detail=json.loads(found["detail"])) if found else None


def amend(conn: sa.Connection, id: int, detail: Row, due_s: int) -> None:
    """Replace the detail of a row about an action that takes several transactions.

    Webhooks to which the event was not posted yet get it after `due_s`.
    """
    conn.execute(audit.update().where(audit.c.id == id).values(detail=json.dumps(detail)))
    conn.execute(deliveries.update().where(deliveries.c.event == id, deliveries.c.tries == 0).values(due_s=due_s))


def note_device(conn: sa.Connection, now_s: int, who: str, action: str, device: str, **detail: Any) -> None:
    """Add a row about a device (its key).

    The subject is the device's id, and the detail includes `product`, its product's name.
    """
    found = sa.select(devices.c.id, products.c.name).join(products).where(devices.c.key == device)
    id, product = conn.execute(found).one()
    note(conn, now_s, who, action, id, product=product, **detail)


def _wants(webhook: "sa.Row[str, str]", action: str, subject: str) -> bool:
    if action == "webhook.test":
        return subject == webhook.id
    if action == "webhook.gave_up" and subject == webhook.id:
        return False  # it could not be delivered to this webhook either
    return not webhook.wanted or action in webhook.wanted.split()


def newest(conn: sa.Connection, most: int = 100, subject: str | None = None, before: int | None = None) -> list[Row]:
    """At most `most` rows, newest first: [{id, at_s, who, action, subject, detail}].

    `subject`: only rows about it; `before`: only rows older than the row with this id. A limited transaction
    (queries.visible()) gets only rows about its products.
    """
    found = sa.select(audit).order_by(audit.c.id.desc()).limit(most)
    if (allowed := queries.products_allowed(conn)) is not None:
        found = found.where(_about(conn, allowed))
    if subject:
        found = found.where(audit.c.subject == subject)
    if before is not None:
        found = found.where(audit.c.id < before)
    rows = conn.execute(found).mappings()
    return [dict(row, detail=json.loads(row["detail"])) for row in rows]


def _about(conn: sa.Connection, allowed: Collection[str]) -> sa.ColumnElement[bool]:
    """Condition for rows about the products `allowed` (ids), their releases and their devices.

    Rows about a device contain the product's name. An earlier product may have had the same name.
    """
    if conn.dialect.name == "sqlite":
        product: Any = sa.func.json_extract(audit.c.detail, "$.product")
    else:
        product = sa.cast(audit.c.detail, sa.JSON)["product"].as_string()
    kind = [audit.c.action.startswith(name) for name in ("release.", "device.", "product.")]
    same = sa.or_(
        sa.and_(kind[0], product == products.c.id),
        sa.and_(kind[1], product == products.c.name),
        sa.and_(kind[2], audit.c.subject == products.c.id),
    )
    owner = sa.select(products.c.id).where(products.c.id.in_(allowed), audit.c.at_s >= products.c.created_s, same)
    return owner.exists()
