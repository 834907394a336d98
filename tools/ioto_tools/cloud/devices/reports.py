"""Stores devices' reports about updates. Reports that wait at the same time are stored in one transaction."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from ..http.errors import Refusal
from ..rollout import grants
from ..rules import failure_details
from ..rules.failure_details import FailureDetails
from ..storage import group_commit, queries
from ..storage.tables import LONG, Row, devices, releases
from . import messages, tokens
from .checkin import Run
from .messages import Fields

if TYPE_CHECKING:
    from ..site.site import Site


class Arrived(NamedTuple):
    """A report, with its token and the time when it arrived."""

    token: str
    message: messages.Report
    now_s: int


class Accepted(NamedTuple):
    """A report of a device (its key) with a valid token, and the device's product (its id)."""

    device: str
    product: str
    message: messages.Report
    details: FailureDetails
    now_s: int


async def report(site: "Site", run: Run, token: str, fields: Fields) -> None:
    """Store a device's report about an update.

    Repeated, late and unknown reports are counted or stored, but do not change the state of the update. If the token
    was replaced, the operator is notified. `run(function, *arguments)` awaits a function that uses the database.
    """
    now_s = site.now_s()
    try:
        await site.database.write_batched(_store, Arrived(token, messages.report(fields), now_s))
    except tokens.ReplacedTokenUsed as e:
        await run(site.database.write, tokens.record_late_use, e.hash, now_s)
        raise


def _store(conn: sa.Connection, arrived: list[Arrived]) -> list[Refusal | None]:
    """Store the reports; return the reason for the refusal of each, or None."""
    owners = tokens.authenticate_all(conn, [(each.token, each.message.id, each.now_s) for each in arrived])
    refusals = [owner if isinstance(owner, Refusal) else None for owner in owners]
    accepted = [
        Accepted(
            owner["device"],
            owner["product"],
            each.message,
            failure_details.read(each.message.details, each.token),
            each.now_s,
        )
        for owner, each in zip(owners, arrived)
        if not isinstance(owner, Refusal)
    ]
    for part in group_commit.split(accepted, lambda each: each.device):
        _apply(conn, part)
    return refusals


def _apply(conn: sa.Connection, reports: Sequence[Accepted]) -> None:
    """Store reports of different devices, and apply them to the devices' grants."""
    keys = queries.listed(conn, [each.device for each in reports])
    conn.execute(_heard(conn.dialect.name), {"keys": keys, "at_s": max(each.now_s for each in reports)})
    product = _products(conn, {each.message.update for each in reports})
    known = [each for each in reports if product.get(each.message.update) == each.product]
    if len(known) < len(reports):
        queries.count_unknown_reports(conn, {each.device for each in reports} - {each.device for each in known})
    applied = grants.apply_reports(
        conn,
        [
            grants.Report(device, said.update, said.state, said.attempt, now_s, said.reason, details)
            for device, _, said, details, now_s in known
        ],
    )
    for changed in (False, True):
        rows = [_row(report, attempt) for report, (attempt, is_news) in zip(known, applied) if is_news == changed]
        queries.add_reports(conn, rows, changed)


def _products(conn: sa.Connection, updates: set[str]) -> dict[str, str]:
    """The product of each of the releases `updates` that exist."""
    found = conn.execute(_products_of(conn.dialect.name), {"updates": queries.listed(conn, updates)})
    return {id: product for id, product in found}


@functools.cache
def _heard(dialect: str) -> Any:
    which = queries.among_given(dialect, devices.c.key, "keys")
    return devices.update().where(which).values(reported_s=sa.bindparam("at_s", type_=LONG))


@functools.cache
def _products_of(dialect: str) -> Any:
    which = queries.among_given(dialect, releases.c.id, "updates")
    return sa.select(releases.c.id, releases.c.product).where(which)


def _row(report: Accepted, attempt: int) -> Row:
    """The report as a row of `reports`."""
    said = report.message
    return {
        "device": report.device,
        "release": said.update,
        "attempt": attempt,
        "state": said.state,
        "success": said.success,
        "reason": said.reason,
        "version": said.version,
        "received_s": report.now_s,
    }
