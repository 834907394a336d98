"""The gates between the stages of a release: checked when devices check in or report, passed in one transaction.

If two workers check the same gate, the release advances only once: the transaction locks the release's row, and checks
that the release is still in the same stage.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from ..http.errors import CloudError, Conflict
from ..rules import health_comparison, stages
from ..rules.health_comparison import Comparison, Sample
from ..rules.selection import ACTIVE
from ..rules.stages import Wait
from ..storage import audit, change_log, queries
from ..storage.tables import AnyRow, Row, devices, grants, releases
from . import catalogue, leases, lifecycle

EVERY_S = 30  # a worker checks a gate at most once in this time
_SAMPLED = 200  # devices of each version whose health is compared
_EXAMINED = 2000  # devices that are examined to find them


class Verdict(NamedTuple):
    """What the gate of the `stage` (its index) waits for. Without `waits`, the gate is open."""

    stage: int
    waits: list[Wait]
    health: Comparison
    ahead: bool  # the recorded start of the stage is in the future, from a wrong clock


def ended(row: AnyRow) -> dict[str, int]:
    """{state: number of devices whose last attempt ended in it}, from a release's row."""
    found: dict[str, int] = json.loads(row["counts"]).get("ended", {})
    return found


def judge(conn: sa.Connection, row: AnyRow | None, now_s: int, always: bool = False) -> Verdict | None:
    """The verdict on the gate of the release `row`; None: it has no next stage.

    The health is compared only if nothing else is missing, or with `always`.
    """
    if row is None or stages.due_s(row) is None:
        return None
    waits = stages.waits_for(row, catalogue.status(row, now_s), ended(row), now_s)
    health = Comparison()
    if stages.parse_gate(row["gate"]).health and (always or not waits):
        health = _compare_health(conn, row)
        waits += [Wait("health", "health: " + each) for each in health.worse]
    return Verdict(row["stage"], waits, health, stages.is_ahead(row["stage_s"], now_s))


def judge_by_id(conn: sa.Connection, release: str, now_s: int) -> Verdict | None:
    return judge(conn, queries.release(conn, release), now_s)


def _compare_health(conn: sa.Connection, row: AnyRow) -> Comparison:
    """Compare samples of devices that have confirmed the release, and of devices on the version before."""
    mine = sa.and_(grants.c.release == row["id"], grants.c.state == "confirmed", devices.c.version == row["version"])
    found = sa.select(devices.c.properties, grants.c.version).join(grants, grants.c.device == devices.c.key).where(mine)
    new = conn.execute(found.limit(_SAMPLED)).all()
    before = [each.version for each in new]
    if not before:
        return health_comparison.compare((), ())
    version = max(sorted(set(before)), key=before.count)  # that most of them ran
    here = sa.and_(devices.c.product == row["product"], devices.c.removed_s.is_(None))
    some = (
        sa.select(devices.c.version, devices.c.properties)
        .where(here)
        .order_by(devices.c.id)
        .limit(_EXAMINED)
        .subquery()
    )
    old = conn.execute(sa.select(some.c.properties).where(some.c.version == version).limit(_SAMPLED)).scalars()
    return health_comparison.compare([_sample(each.properties) for each in new], map(_sample, old))


def _sample(properties: str) -> Sample:
    return health_comparison.sample(json.loads(properties))


def pass_gate(conn: sa.Connection, release: str, verdict: Verdict, now_s: int) -> bool:
    """Begin the next stage, if the gate that `verdict` found open is still open; return whether it did.

    If the recorded start of the stage is in the future, from a wrong clock, the minimum duration restarts now.
    """
    row = leases.locked(conn, release)
    if row is None or row["stage"] != verdict.stage or stages.due_s(row) is None:
        return False
    if stages.is_ahead(row["stage_s"], now_s):
        conn.execute(releases.update().where(releases.c.id == release).values(stage_s=now_s))
        change_log.note(conn, now_s)
        return False
    if stages.waits_for(row, catalogue.status(row, now_s), ended(row), now_s):
        return False
    counts = ended(row)
    detail: Row = {
        "finished": stages.finished(counts) - (row["stage_finished"] or 0),
        "failed_percent": round(stages.failed_percent(counts), 3),
    }
    if verdict.health.ignored:
        detail["ignored"] = list(verdict.health.ignored)
    begin_next(conn, row, now_s, audit.CLOUD, **detail)
    return True


def begin_next(conn: sa.Connection, row: AnyRow, now_s: int, who: str, **detail: Any) -> None:
    """Begin the next stage of the release `row` (locked). The last stage ends a hold."""
    plan, number = stages.parse(row["stages"]), row["stage"] + 1
    held = row["held"] and number < len(plan) - 1
    shown = {"stage": number + 1, "of": len(plan), "percentage": plan[number].percentage}
    values = {**stages.begin(plan, number, ended(row), now_s), "held": held}
    lifecycle.change(conn, row, values, "advanced", now_s, who, **shown, **detail)
    if row["held"] and not held:
        about = {"product": row["product"], "version": row["version"], "stage": number + 1}
        audit.note(conn, now_s, who, "release.unheld", row["id"], **about)


def advance(conn: sa.Connection, row: AnyRow, stage: int | None, now_s: int, who: str) -> None:
    """Begin the next stage of the release `row` (locked) without its gate, for an operator.

    `stage`: the number of the stage, from 1, that the operator sees; None: any. Raises Conflict.
    """
    name = _check_stages(conn, row)
    _check_next(row, name)
    if stage is not None and stage != row["stage"] + 1:
        raise Conflict("stage %d: %s is in stage %d now" % (stage, name, row["stage"] + 1))
    if row["state"] != ACTIVE:
        raise Conflict("%s is %s: only an active release can be advanced" % (name, row["state"]))
    begin_next(conn, row, now_s, who)


def hold(conn: sa.Connection, row: AnyRow, held: bool, now_s: int, who: str) -> None:
    """Hold the release `row` (locked) in its stage, or end the hold. No-op if nothing would change. Raises Conflict."""
    name = _check_stages(conn, row)
    if row["held"] == held:
        return
    if held:
        _check_next(row, name)
    lifecycle.change(conn, row, {"held": held}, "held" if held else "unheld", now_s, who, stage=row["stage"] + 1)


def _check_stages(conn: sa.Connection, row: AnyRow) -> str:
    """The release's product and version, for messages. CloudError if it has no stages."""
    name = "%s %s" % (queries.product_name(conn, row["product"]), row["version"])
    if row["stages"] is None:
        raise CloudError("%s has no stages: `ioto updates set --stages` sets them" % name)
    return name


def _check_next(row: AnyRow, name: str) -> None:
    """Raises Conflict if the release has no next stage."""
    if stages.due_s(row) is None:
        raise Conflict("%s is in its last stage" % name)


def shown(conn: sa.Connection, row: AnyRow, now_s: int) -> Row | None:
    """The stages of a release for operators; None: it has none.

    {stages: [{percentage, soak_s}], stage (number of the current one, from 1), since_s, due_s, held, waits: [{name,
    says}], ignored: [text]}. `due_s`: end of its minimum duration; None in the last stage.
    """
    if row["stages"] is None:
        return None
    verdict = judge(conn, row, now_s, always=True)
    return {
        "stages": [each._asdict() for each in stages.parse(row["stages"])],
        "stage": row["stage"] + 1,
        "since_s": row["stage_s"],
        "due_s": stages.due_s(row),
        "held": row["held"],
        "waits": [wait._asdict() for wait in verdict.waits] if verdict else [],
        "ignored": list(verdict.health.ignored) if verdict else [],
    }


def label(row: Mapping[str, Any] | sa.RowMapping) -> str:
    """The current stage of a release in words, such as `stage 1 of 3 (1%)`."""
    return "stage %d of %d (%g%%)" % (row["stage"] + 1, len(stages.parse(row["stages"])), row["percentage"])
