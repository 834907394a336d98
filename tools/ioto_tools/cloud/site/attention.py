"""What needs an operator's attention: stopped releases, new failures, silent and suspicious devices, the site itself.

Each item is about one list of the web page, whose parameters it contains; the API's lists have the same parameters. The
cost does not grow with the fleet: rows are read through indexes, and at most MOST_READ of a kind.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypedDict

import sqlalchemy as sa

from ..operators import operator_tokens
from ..operators.overview import NO_REASON
from ..rules import stop_rule, update_states
from ..storage import counters, queries
from ..storage.tables import Row, devices, grants, products, releases, reports, webhooks
from .housekeeping import FREE_BYTES

if TYPE_CHECKING:
    from .site import Site

DAY_S = 24 * 3600
BACKUP_S = 8 * DAY_S  # a weekly backup may be a day late
MOST_READ = 5000
MOST_ITEMS = 10  # of one kind
BACKED_UP = "backed up_s"  # name in `counters`: the time of the last complete `ioto cloud backup`

KINDS = ("release_stopped", "failures", "silent", "unclaimed", "shared_id", "refused", "webhook", "disk", "backup")


class Item(TypedDict):
    """Something that needs attention. `page`, `query`: the page of the web page that lists it, and its parameters."""

    kind: str  # one of KINDS
    says: str
    page: str
    query: dict[str, str]


def items(site: "Site", conn: sa.Connection, now_s: int, fleet: Sequence[Row]) -> list[Item]:
    """Everything that needs attention, in the order of KINDS. `fleet`: the result of fleet_samples.current().

    An operator whose token is limited to products sees only items about these.
    """
    found = [
        *_stopped(conn),
        *_failures(conn, now_s),
        *_of_products(fleet, "silent", "overdue for a check-in", silent="yes", sort="seen"),
        *_of_products(fleet, "unclaimed", "waiting to be claimed", claimed="no"),
        *_suspicious(conn, "shared_id", devices.c.shared_s, 0, "several boards share the id %s of %s"),
        *_suspicious(
            conn, "refused", devices.c.refused_s, now_s - DAY_S, "registrations with the id %s of %s were refused"
        ),
    ]
    if queries.products_allowed(conn) is None:
        found += [*_failing_webhooks(site, conn), *_disk(site), *_backup(site, conn, now_s)]
    return found


def _number(n: int, most: int = 0) -> str:
    return f"{n:,}" + ("+" if most and n >= most else "")


def _stopped(conn: sa.Connection) -> Iterator[Item]:
    found = sa.select(releases, products.c.name).join(products).where(releases.c.state == "paused", releases.c.enabled)
    found = found.where(queries.visible(conn, releases.c.product))
    for row in conn.execute(found.order_by(products.c.name, releases.c.id.desc())).mappings():
        ended = json.loads(row["counts"]).get("ended", {})
        if stop_rule.applies(ended, row["stop_after"], row["stop_percent"]):
            bad = sum(ended.get(state, 0) for state in update_states.FAILURES)
            text = "%s %s is paused, and its stop rule applies: %s of %s devices failed"
            of = sum(ended.get(state, 0) for state in update_states.OUTCOMES)
            yield {
                "kind": "release_stopped",
                "says": text % (row["name"], row["version"], _number(bad), _number(of)),
                "page": "release",
                "query": {"id": row["id"]},
            }


def _failures(conn: sa.Connection, now_s: int) -> Iterator[Item]:
    """The most frequent reasons of devices that failed within the last day, for each release.

    The link of each leads to a list of as many devices.
    """
    bad = grants.c.state.in_(sorted(update_states.FAILURES))
    some = sa.select(grants).join(devices, devices.c.key == grants.c.device).where(devices.c.removed_s.is_(None))
    some = some.where(bad, grants.c.changed_s > now_s - DAY_S).limit(MOST_READ)
    if queries.products_allowed(conn) is not None:
        some = some.join(releases).where(queries.visible(conn, releases.c.product))
    new = some.cte("new")
    about = sa.and_(
        reports.c.device == new.c.device, reports.c.release == new.c.release, reports.c.attempt == new.c.attempt,
        reports.c.state == sa.case((new.c.state == "unfit", "refused"), else_=new.c.state),
    )  # fmt: skip
    found = sa.select(new.c.release, new.c.state, reports.c.reason, products.c.name, releases.c.version)
    found = found.select_from(new.outerjoin(reports, about).join(releases, releases.c.id == new.c.release))
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for row in conn.execute(found.join(products, products.c.id == releases.c.product)):
        reason = (row.reason or "").partition(":")[0]
        counts[row.release, "%s %s" % (row.name, row.version), reason, "" if reason else row.state] += 1
    of = counts.total()
    for (release, title, reason, state), n in counts.most_common(MOST_ITEMS):
        states = state or ",".join(sorted(update_states.FAILURES))
        yield {
            "kind": "failures",
            "says": "%s %s failed to update to %s within a day: %s"
            % (_number(n, MOST_READ if of >= MOST_READ else 0), _devices(n), title, reason or state.replace("_", " ")),
            "page": "devices",
            "query": {"release": release, "state": states, "reason": reason or NO_REASON, "changed": "1 day"},
        }


def _devices(n: int) -> str:
    return "device" if n == 1 else "devices"


def _of_products(fleet: Sequence[Row], kind: str, text: str, **query: str) -> Iterator[Item]:
    for product in fleet:
        if n := product[kind]:
            yield {
                "kind": kind,
                "says": "%s %s of %s %s %s"
                % (_number(n), _devices(n), product["name"], "is" if n == 1 else "are", text),
                "page": "devices",
                "query": {"product": product["name"], **query},
            }


def _suspicious(conn: sa.Connection, kind: str, column: sa.Column[int], after_s: int, text: str) -> Iterator[Item]:
    """The devices whose time in `column`, which is indexed, is later than `after_s`; the newest first."""
    found = sa.select(devices.c.id, devices.c.product, products.c.name).join(products)
    found = found.where(column.is_not(None), column > after_s, devices.c.removed_s.is_(None))
    found = found.where(queries.visible(conn, devices.c.product))
    for row in conn.execute(found.order_by(column.desc(), devices.c.id).limit(MOST_ITEMS)):
        yield {
            "kind": kind,
            "says": text % (row.id, row.name),
            "page": "device",
            "query": {"id": row.id, "product": row.name},
        }


def _failing_webhooks(site: "Site", conn: sa.Connection) -> Iterator[Item]:
    """Only their ids are shown, and others than admins get a link to the audit log: they must not see the addresses."""
    is_admin = site.scope not in operator_tokens.SCOPES or operator_tokens.includes(site.scope, "admin")
    for id in conn.execute(sa.select(webhooks.c.id).where(webhooks.c.error != "").order_by(webhooks.c.id)).scalars():
        text = "webhook %s did not accept the last event; `ioto webhook list` shows the error" % id
        if is_admin:
            yield {"kind": "webhook", "says": text, "page": "webhooks", "query": {}}
        else:
            yield {"kind": "webhook", "says": text, "page": "audit", "query": {"subject": id}}


def _disk(site: "Site") -> Iterator[Item]:
    free = shutil.disk_usage(site.data).free
    if free < FREE_BYTES:
        text = "only %d MiB are free on the disk of the site's folder"
        yield {"kind": "disk", "says": text % (free >> 20), "page": "products", "query": {}}


def _backup(site: "Site", conn: sa.Connection, now_s: int) -> Iterator[Item]:
    """Whether the last backup is old. PostgreSQL may be backed up by its own tools, which the cloud can't know."""
    backed_up_s = counters.one(conn, BACKED_UP)
    if backed_up_s:
        text = "the last `ioto cloud backup` was made %d days ago" % ((now_s - backed_up_s) // DAY_S)
    else:
        text = "`ioto cloud backup` has never been run"
    since_s = backed_up_s or conn.execute(sa.select(sa.func.min(products.c.created_s))).scalar() or now_s
    if now_s - since_s > BACKUP_S and (backed_up_s or not site.settings["database"]):
        yield {"kind": "backup", "says": text, "page": "audit", "query": {"subject": "site"}}
