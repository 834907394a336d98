"""Groups: named policies for repeated use, such as beta testers, a customer or a region.

An operator whose token is limited to some products sees no groups: they are for all products.
"""

import json
from typing import TYPE_CHECKING

import sqlalchemy as sa

from .. import policy as policy_language
from ..http.errors import CloudError, Missing
from ..rules import terms
from ..storage import audit, queries
from ..storage.tables import Row, devices, groups

if TYPE_CHECKING:
    from ..site.site import Site


def listed(site: "Site") -> list[Row]:
    """[{name, policy}] by name."""
    return site.database.read(_listed)


def _listed(conn: sa.Connection) -> list[Row]:
    if queries.products_allowed(conn) is not None:
        return []
    return [dict(row) for row in conn.execute(sa.select(groups).order_by(groups.c.name)).mappings()]


def policy(site: "Site", name: str) -> str:
    """The policy of the group. Raises Missing if there is no such group."""
    return site.database.read(find_policy, name)


def find_policy(conn: sa.Connection, name: str) -> str:
    """policy() in a transaction."""
    found = conn.execute(sa.select(groups.c.policy).where(groups.c.name == name)).scalar()
    if found is None or queries.products_allowed(conn) is not None:
        raise Missing("group %s: not found; `ioto groups` lists the groups" % name)
    return found


MOST_EXAMINED = 5000  # devices, when the devices of a group are counted


def count_devices(site: "Site", which: policy_language.Policy) -> Row:
    """Count the devices that match the policy, among the first MOST_EXAMINED by id: {found, looked, more}.

    `looked`: number of devices examined; `more`: there are further devices.
    """
    return site.database.read(_count_devices, which)


def _count_devices(conn: sa.Connection, which: policy_language.Policy) -> Row:
    columns = devices.c.key, devices.c.id, devices.c.properties
    rows = queries.devices_by_id(conn, columns, (), MOST_EXAMINED)
    found = sum(which(json.loads(row["properties"]), {}) for row in rows)
    return {"found": found, "looked": len(rows), "more": len(rows) >= MOST_EXAMINED}


def combine(one: str | None, other: str | None) -> str | None:
    """A policy that is true if both policies are; None: no policy."""
    return "(%s) && (%s)" % (one, other) if one and other else one or other


def set_policy(site: "Site", name: str, text: str) -> None:
    """Set the policy of the group `name` to `text`.

    Releases that were published with the group's earlier policy keep the earlier policy.
    """
    if not name.isprintable() or not 0 < len(name) <= 64 or name != name.strip():
        raise CloudError("group %r: expected: a name of 1 to 64 printable characters" % name)
    site.database.write(_keep, name, terms.parse_terms({"policy": text})["policy"], site.now_s(), site.who)


def _keep(conn: sa.Connection, name: str, text: str, now_s: int, who: str) -> None:
    new = queries.upsert(conn, groups).values(name=name, policy=text)
    conn.execute(new.on_conflict_do_update(index_elements=[groups.c.name], set_={"policy": text}))
    audit.note(conn, now_s, who, "group.set", name, policy=text)


def remove(site: "Site", name: str) -> None:
    """Delete the group. Raises Missing if there is none."""
    site.database.write(_remove, name, site.now_s(), site.who)


def _remove(conn: sa.Connection, name: str, now_s: int, who: str) -> None:
    find_policy(conn, name)
    conn.execute(groups.delete().where(groups.c.name == name))
    audit.note(conn, now_s, who, "group.removed", name)
