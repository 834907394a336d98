"""The operators' view of the cloud: products, updates with their counts, devices with their history.

Results are plain dicts and lists, for tables and --json alike. Times are Unix seconds. control.py makes changes.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..devices import tokens
from ..http.errors import Conflict, Missing
from ..rollout import catalogue, failures, grants, leases, shared_ids, stage_gates, state_changes
from ..rules import board_health, packed_files, selection, stop_rule, terms
from ..storage import audit, queries
from ..storage.tables import Row, releases, reports
from ..storage.tables import devices as device_rows
from ..storage.tables import grants as grant_rows
from ..storage.tables import products as product_rows
from . import explain

if TYPE_CHECKING:
    from ..site.site import Site

Which = Callable[[dict[str, Any], dict[str, Any]], bool]  # a policy: which(properties, {})
AnyRow = Row | sa.RowMapping

PAGE = 1000  # devices read at a time


def products(site: "Site") -> list[Row]:
    """Every product with its numbers of devices and updates, by name."""
    return site.database.read(queries.all_products, site.now_s())


# ---- updates


def updates(site: "Site", product: str | None = None, archived: bool = False) -> list[Row]:
    """All updates, or only the updates of `product`, sorted by the product's name, then by descending version.

    `archived`: also the archived ones. [{update, product, version, size, checksum, signed, enabled, state, status,
    description, created_s, archived_s, terms, granted, states, ended}]. `status`: from catalogue.status(); `terms`:
    from terms.format_terms(); `granted`: number of devices that were ever offered it; `states`: {state: number of
    devices}; `ended`: {state: number of devices whose last attempt ended in it}, for the stop rule.
    """
    (found, slots), now_s = site.database.read(_updates, product), site.now_s()
    found = [each for each in found if archived or each["archived_s"] is None]
    found = sorted(selection.sort_newest_first(found), key=lambda find_release: find_release["product_name"])
    return [_update_shown(find_release, slots[find_release["id"]], now_s) for find_release in found]


def _updates(conn: sa.Connection, product: str | None) -> tuple[list[Row], dict[str, int]]:
    found = queries.all_releases(conn, product and find_product(conn, product)["id"])
    return found, leases.slots_in_use(conn)


def update(site: "Site", word: str) -> Row:
    """One update (its id, or PRODUCT@VERSION) as in updates(), with further fields.

    `stops`: True if its stop rule would pause it; `stages`: from stage_gates.shown(); `unapplied`: the numbers of
    devices that may still apply it (grants.count_unapplied()); `audit`: its audit rows, newest first.
    """
    now_s = site.now_s()
    found, slots, unapplied, stages, rows = site.database.read(_update_details, word, now_s)
    shown = _update_shown(found, slots[found["id"]], now_s)
    stops = stop_rule.applies(shown["ended"], found["stop_after"], found["stop_percent"])
    return {**shown, "stops": stops, "stages": stages, "unapplied": unapplied, "audit": rows}


def _update_details(
    conn: sa.Connection, word: str, now_s: int
) -> tuple[Row, dict[str, int], grants.Unapplied, Row | None, list[Row]]:
    id = find_release(conn, word)["id"]
    found = next(each for each in queries.all_releases(conn) if each["id"] == id)
    stages = stage_gates.shown(conn, found, now_s)
    return (
        found,
        leases.slots_in_use(conn, id),
        grants.count_unapplied(conn, id),
        stages,
        audit.newest(conn, subject=id),
    )


def _update_shown(release: Row, slots: int, now_s: int) -> Row:
    states = state_changes.device_counts(release, slots)
    kept = ("version", "size", "checksum", "enabled", "state", "description", "created_s", "archived_s")
    return {
        "update": release["id"],
        "product": release["product_name"],
        **{name: release[name] for name in kept},
        "status": catalogue.status(release, now_s),
        "signed": release["manifest"] is not None,
        "terms": terms.format_terms(release),
        "granted": sum(states.values()),
        "states": states,
        "ended": json.loads(release["counts"]).get("ended", {}),
    }


def release_failures(site: "Site", word: str) -> list[Row]:
    """The failures of an update (its id, or PRODUCT@VERSION), grouped; the groups of most devices first.

    [{reason, cause, devices, last_s, example}], at most failures.MOST_GROUPS: `devices`: their number; `last_s`: time
    of the last failure; `example`: a failure as in device(), with the `device`'s id.
    """
    return site.database.read(_release_failures, word)


def _release_failures(conn: sa.Connection, word: str) -> list[Row]:
    id, shown = find_release(conn, word)["id"], []
    for group in failures.groups(conn, id):
        example = failures.example(conn, id, group)
        kept = {name: group[name] for name in ("reason", "cause", "devices", "last_s")}
        shown.append({**kept, "example": {"device": example["id"], **_failure_shown(example)}})
    return shown


def _failure_shown(row: AnyRow) -> Row:
    kept = ("attempt", "state", "reason", "cause", "reset", "trace", "log", "at_s")
    return {name: row[name] for name in kept}


def find_release(conn: sa.Connection, word: str) -> Row:
    """The row of the update `word`. Raises Missing if there is none."""
    found = queries.release(conn, word)
    name, at, version = word.rpartition("@")
    if found is None and at:
        found = queries.release_by_version(conn, find_product(conn, name)["id"], selection.precedence(version))
    if found is None:
        raise Missing(
            "update %s: not found: name it as PRODUCT@VERSION or by its id; `ioto updates` lists the updates" % word
        )
    return found


# ---- devices


def devices(site: "Site", product: str | None = None, which: Which | None = None) -> list[Row]:
    """All devices, or only the devices of `product`, sorted by id.

    [{id, product, version, seen_s, registered_s, registrations, checkins, unknown_reports, removed, claimed, vouched,
    pin, shared_s, update}]. `which`(properties, {}): a policy that selects devices. `update`: the last offer, {update,
    version, state, ended, attempt, tries, reason, file, packed_failed, offered_s, changed_s}, or None; `ended`: the
    state in which its last attempt ended, or None; `file`: the kind of its file (packed_files.kind());
    `packed_failed`: a packed file has failed on the device, so it is offered the whole image.
    """
    found = []
    for page in device_pages(site, product):
        page = [row for row in page if which is None or which(json.loads(row["properties"]), {})]
        offered = site.database.read(last_offered, [row["key"] for row in page])
        found += [device_summary(row, offered.get(row["key"])) for row in page]
    return found


def device_pages(site: "Site", product: str | None = None, last: str = "") -> Iterator[list[Row]]:
    """Yield the rows of all devices that are not removed and whose id is after `last`, sorted by id, in lists.

    Each list but the last contains PAGE rows or a few more. Each row has the `product_name`. There may be millions of
    rows in all.
    """
    while True:
        found = site.database.read(_page, product, last, PAGE)
        yield found
        if len(found) < PAGE:
            return
        last = found[-1]["id"]


def _page(conn: sa.Connection, product: str | None, last: str, most: int) -> list[Row]:
    which = [device_rows.c.id > last, device_rows.c.product == product_rows.c.id]
    if product:
        which.append(device_rows.c.product == find_product(conn, product)["id"])
    return [
        dict(row)
        for row in queries.devices_by_id(conn, (device_rows, product_rows.c.name.label("product_name")), which, most)
    ]


def last_offered(conn: sa.Connection, keys: list[str], release: str | None = None) -> dict[str, sa.RowMapping]:
    """{key of a device: its last offer}; with `release` (an id), its offer of this release."""
    mine = grant_rows.c.device.in_(keys)
    which = sa.and_(mine, grant_rows.c.release == release) if release else mine
    return {row["device"]: row for row in _offered(conn, which)}


def _offered(conn: sa.Connection, which: sa.ColumnElement[bool]) -> Sequence[sa.RowMapping]:
    """The grants that match `which`, by time of the offer, each with the `reason` of the last report about it."""
    found = sa.select(grant_rows, releases.c.version.label("update_version"), reports.c.reason)
    found = found.join(releases, releases.c.id == grant_rows.c.release).outerjoin(reports, _LAST_REPORT)
    return conn.execute(found.where(which).order_by(grant_rows.c.offered_s)).mappings().all()


# The row of `reports` that led to the state of a row of `grants`. Reports `refused` lead to several states.
_LAST_REPORT = sa.and_(
    reports.c.device == grant_rows.c.device, reports.c.release == grant_rows.c.release,
    reports.c.attempt == grant_rows.c.attempt,
    reports.c.state == sa.case((grant_rows.c.state.in_(("unfit", "withdrawn")), "refused"), else_=grant_rows.c.state),
)  # fmt: skip


NO_REASON = "none"  # stands for an empty reason


def last_report_has(reason: str) -> sa.ColumnElement[bool]:
    """The condition on rows of `grants` that the last report has this reason, with or without details after a colon.

    NO_REASON: it has none, or there is no report.
    """
    begins = sa.func.substr(reports.c.reason, 1, len(reason) + 1) == reason + ":"
    matches = reports.c.reason != "" if reason == NO_REASON else sa.or_(reports.c.reason == reason, begins)
    found = sa.exists(sa.select(reports.c.device).where(_LAST_REPORT, matches).correlate(grant_rows))
    return sa.not_(found) if reason == NO_REASON else found


def device_summary(device: AnyRow, offered: AnyRow | None) -> Row:
    """An element of devices(), from a device's row and its last offer or None."""
    kept = (
        "id",
        "version",
        "seen_s",
        "first_s",
        "registered_s",
        "registrations",
        "checkins",
        "unknown_reports",
        "claimed",
        "vouched",
        "pin",
        "shared_s",
    )
    return {
        **{name: device[name] for name in kept},
        "product": device["product_name"],
        "removed": device["removed_s"] is not None,
        "update": offered and _grant_shown(offered),
    }


def _grant_shown(offered: AnyRow) -> Row:
    kept = ("state", "ended", "attempt", "tries", "offered_s", "changed_s")
    return {
        "update": offered["release"],
        "version": offered["update_version"],
        "reason": offered["reason"] or "",
        "file": packed_files.kind(offered["file"]),
        "packed_failed": offered["whole"],
        **{name: offered[name] for name in kept},
    }


def device(site: "Site", id: str, product: str | None = None) -> Row:
    """One device, found by find_device(), as in devices(), with further fields.

    `properties`: of its last check-in; `health`: from board_health.read(); `updates`: the updates that it was offered;
    `reports`: all its reports; `failures`: its last failures, newest first: [{update, version, attempt, state, reason,
    cause, reset, trace, log, at_s}], where `update` is the update that failed, or the one that crashed, or None;
    `doubts`: [{says, at_s}], warnings, such as signs that several boards use its id (shared_ids.py); `offers`:
    [{update, version, why, terms, stage}], its product's releases, highest first, as if it checked in again now.
    `why`: the reason why the release is not offered, a key of selection.REASONS_NOT_OFFERED, or None if it is offered;
    `stage`: the release's current stage in words, if `why` is "stage".
    """
    read = site.database.read(_device_details, id, product, site.now_s())
    found, token_rows, offered, report_rows, failed, offers = read
    properties = json.loads(found["properties"])
    return {
        **device_summary(found, offered[-1] if offered else None),
        "properties": properties,
        "health": board_health.read(properties),
        "doubts": [{"says": says, "at_s": at_s} for says, at_s in shared_ids.warnings(found, token_rows)],
        "updates": [_grant_shown(each) for each in offered],
        "reports": [_report_shown(each) for each in report_rows],
        "failures": [
            {"update": each["release"], "version": each["version"] or each["update_version"], **_failure_shown(each)}
            for each in failed
        ],
        "offers": offers,
    }


def _report_shown(row: AnyRow) -> Row:
    kept = ("state", "attempt", "reason", "received_s", "success", "times")
    return {
        "update": row["release"],
        "version": row["update_version"],
        "runs": row["version"],
        **{name: row[name] for name in kept},
    }


def _device_details(
    conn: sa.Connection, id: str, product: str | None, now_s: int
) -> tuple[Row, list[Row], Sequence[sa.RowMapping], list[Row], list[Row], list[Row]]:
    found = find_device(conn, id, product)
    key = found["key"]
    offered = _offered(conn, grant_rows.c.device == key)
    return (
        found,
        tokens.all_tokens(conn, key),
        offered,
        queries.reports_of(conn, key),
        failures.of_device(conn, key),
        explain.offers(conn, found, now_s),
    )


def find_device(conn: sa.Connection, id: str, product: str | None = None) -> Row:
    """The row, with its `product_name`, of the device with this id.

    `product`: name or id; None: any product. Devices that are not removed take precedence. Raises Missing if there is
    no such device, Ambiguous if there are several.
    """
    if product:
        owner = find_product(conn, product)
        found = [each for each in [queries.device_by_id(conn, owner["id"], id)] if each]
    else:
        found = queries.devices_with(conn, id)
    if not found:
        where = "product %s has no device" % owner["name"] if product else "there is no device"
        raise Missing("device %s: %s with this id; `ioto devices` lists the devices" % (id, where))
    there = [each for each in found if each["removed_s"] is None] or found
    if len(there) > 1:
        names = ", ".join(each["product_name"] for each in there)
        raise Ambiguous(
            "device %s: several products have a device with this id (%s): add `--product NAME` (in the API: "
            "`product=NAME`)" % (id, names)
        )
    return there[0]


class Ambiguous(Conflict):
    """Devices of several products have the id."""


def find_product(conn: sa.Connection, word: str) -> Row:
    """The product's row by id or name. Raises Missing if there is none."""
    found = queries.product_by_id_or_name(conn, word)
    if found is None:
        raise Missing("product %s: not found; `ioto product list` lists the products" % word)
    return found
