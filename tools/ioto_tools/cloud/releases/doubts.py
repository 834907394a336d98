"""Warnings about terms of a rollout that are valid but probably a mistake: one sentence each, for the operator.
Read-only.
"""

import difflib
import json
from typing import TYPE_CHECKING

import sqlalchemy as sa

from .. import policy
from ..operators import overview
from ..policy.names import PARTS
from ..rollout import identity
from ..rules import terms
from ..storage.tables import Row, devices

if TYPE_CHECKING:
    from ..site.site import Site

LOOKS = 5000  # devices whose properties are examined
UPDATER_BYTES = 100 * 1024 * 1024  # EmbedThis' updater programs refuse larger images
_ALWAYS = {"id", "product", "version", *PARTS}


def of_update(site: "Site", update: Row) -> list[str]:
    """Warnings about an update as returned by overview.update()."""
    found = of(site, update["product"], update["terms"]["policy"], update["terms"]["percentage"])
    if update["size"] > UPDATER_BYTES:
        found = found + site.database.read(_too_large, update)
    return found


def of(site: "Site", product: str | None, text: str, percentage: float | None = None) -> list[str]:
    """Warnings about a policy for the devices of `product` (name or id; None: any), and about a percentage."""
    found = terms.doubts(text) + _of_names(site, product, text)
    if percentage == 0:
        found = found + ["percentage 0: no device is offered the update before it is raised"]
    return found


def of_choice(site: "Site", product: str | None, text: str) -> list[str]:
    """Warnings about a policy that selects devices of `product` (name or id; None: any), whatever version they run."""
    return policy.compile(text).doubts + _of_names(site, product, text)


def _of_names(site: "Site", product: str | None, text: str) -> list[str]:
    names = sorted((policy.compile(text).properties or set()) - _ALWAYS)
    return site.database.read(_unsent, product, names) if names else []


def _too_large(conn: sa.Connection, update: Row) -> list[str]:
    """A sentence if some of the product's devices, of LOOKS examined, use clients other than this project's agent."""
    found = (
        _seen().where(devices.c.product == overview.product_of(conn, update["product"])["id"]).order_by(devices.c.id)
    )
    others = [row["id"] for row in conn.execute(found).mappings() if not identity.is_ours(row)]
    if not others:
        return []
    asked = (
        update["size"] / (1 << 20),
        len(others),
        "s of the product use" if len(others) > 1 else " of the product uses",
        others[0],
    )
    return ["image: it has %.1f MiB, and EmbedThis' updater programs refuse more than 100 MiB: %d device%s another "
            "client than this "
            "project's agent, such as %s: publish a smaller image for them" % asked]  # fmt: skip


def _seen() -> sa.Select:
    """The devices that are examined."""
    return (
        sa.select(devices.c.id, devices.c.properties)
        .where(devices.c.removed_s.is_(None), devices.c.seen_s.is_not(None))
        .limit(LOOKS)
    )


def _unsent(conn: sa.Connection, product: str | None, names: list[str]) -> list[str]:
    """A sentence for each of `names` that none of LOOKS devices has sent."""
    sent: set[str] = set()
    found = _seen()
    if product:
        found = found.where(devices.c.product == overview.product_of(conn, product)["id"])
    for _, properties in conn.execute(found):
        sent.update(json.loads(properties))
        if sent.issuperset(names):
            return []
    return [_sentence(name, sent) for name in names if name not in sent] if sent else []


def _sentence(name: str, sent: set[str]) -> str:
    like = difflib.get_close_matches(name, sent, 1)
    return "no known device has sent the property %s%s" % (name, ": is %s meant?" % like[0] if like else "")
