"""Warnings for the operator about terms of a rollout that are valid but probably a mistake.

One sentence each. Read-only.
"""

import difflib
import json
from typing import TYPE_CHECKING

import sqlalchemy as sa

from .. import policy
from ..operators import overview
from ..policy.names import PARTS
from ..rollout import shared_ids
from ..rules import stages, terms
from ..storage import queries
from ..storage.tables import Row, devices
from . import signing_keys

if TYPE_CHECKING:
    from ..site.site import Site

MOST_EXAMINED = 5000  # devices whose properties are examined
UPDATER_BYTES = 100 * 1024 * 1024  # EmbedThis' updater programs refuse larger images
_ALWAYS = {"id", "product", "version", *PARTS}


def of_update(site: "Site", update: Row) -> list[str]:
    """Warnings about an update as returned by overview.update()."""
    found = of_policy(site, update["product"], update["terms"]["policy"], update["terms"]["percentage"])
    if update["terms"]["stages"]:
        found = found + site.database.read(_small_stages, update)
    if "update" in update:
        found = found + site.database.read(signing_keys.of_update, update["update"])
    if update["size"] > UPDATER_BYTES:
        found = found + site.database.read(_image_too_large, update)
    return found


def of_policy(site: "Site", product: str | None, text: str, percentage: float | None = None) -> list[str]:
    """Warnings about a percentage, and about a policy for devices of `product` (name or id; None: any)."""
    found = terms.policy_warnings(text) + _unknown_properties(site, product, text)
    if percentage == 0:
        found = found + ["percentage 0: no device is offered the update before you raise the percentage"]
    return found


def of_search(site: "Site", product: str | None, text: str) -> list[str]:
    """Warnings about a policy that searches for devices of `product` (name or id; None: any).

    Unlike for an update, the policy need not contain device.version.
    """
    return policy.compile(text).warnings + _unknown_properties(site, product, text)


def _unknown_properties(site: "Site", product: str | None, text: str) -> list[str]:
    """A sentence for each property in the policy that no examined device has sent."""
    names = sorted((policy.compile(text).properties or set()) - _ALWAYS)
    return site.database.read(_never_sent, product, names) if names else []


def _image_too_large(conn: sa.Connection, update: Row) -> list[str]:
    """For an image above UPDATER_BYTES: a sentence if any examined device does not use this project's agent."""
    found = (
        _examined()
        .where(devices.c.product == overview.find_product(conn, update["product"])["id"])
        .order_by(devices.c.id)
    )
    others = [row["id"] for row in conn.execute(found).mappings() if not shared_ids.is_ours(row)]
    if not others:
        return []
    who = "%d devices of the product use" % len(others) if len(others) > 1 else "1 device of the product uses"
    return [
        "image: its size is %.1f MiB, but EmbedThis' updater programs refuse more than 100 MiB; %s a client other than "
        "this project's agent, such as %s: publish a smaller image for them"
        % (update["size"] / (1 << 20), who, others[0])
    ]


def _small_stages(conn: sa.Connection, update: Row) -> list[str]:
    """A sentence if a stage has fewer devices than its gate waits for."""
    plan, least = stages.parse(update["terms"]["stages"]), stages.parse_gate(update["terms"]["gate"]).least
    product = overview.find_product(conn, update["product"])["id"]
    here = sa.select(sa.func.count()).where(devices.c.product == product, devices.c.removed_s.is_(None))
    n = conn.execute(here).scalar_one()
    for number, (before, stage) in enumerate(zip((stages.Stage(0, 0), *plan), plan[:-1], strict=False), 1):
        more = n * (stage.percentage - before.percentage) / 100
        if n and more < least:
            return [
                "gate: it waits until %d devices have finished in each stage, but stage %d has only about %.2g of the "
                "product's %d devices" % (least, number, more, n)
            ]
    return []


def _examined() -> sa.Select:
    """The query for the devices that are examined."""
    return (
        sa.select(devices.c.id, devices.c.properties)
        .where(devices.c.removed_s.is_(None), devices.c.seen_s.is_not(None))
        .limit(MOST_EXAMINED)
    )


def _never_sent(conn: sa.Connection, product: str | None, names: list[str]) -> list[str]:
    """A sentence for each of `names` that no examined device has sent; none if no device has checked in."""
    sent: set[str] = set()
    found = _examined().where(queries.visible(conn, devices.c.product))
    if product:
        found = found.where(devices.c.product == overview.find_product(conn, product)["id"])
    for _, properties in conn.execute(found):
        sent.update(json.loads(properties))
        if sent.issuperset(names):
            return []
    return [_sentence(name, sent) for name in names if name not in sent] if sent else []


def _sentence(name: str, sent: set[str]) -> str:
    like = difflib.get_close_matches(name, sent, 1)
    return "no known device has sent the property %s%s" % (name, ": is %s meant?" % like[0] if like else "")
