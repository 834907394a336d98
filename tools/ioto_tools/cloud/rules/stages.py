"""The stages of a rollout: percentages that rise one by one, and the gate before each next stage. Pure.

    stages  1% 1h, 10% 1d, 100%             each with its minimum duration; the last one has none
    gate    20 finished, 2% failed, health  of the devices in a stage; "none": only the duration

The percentage of the current stage is the release's `percentage`. `row` is a release's row; its columns:

    stage           index of the current stage; null: the release has no stages
    stage_s         when the stage began
    stage_finished  number of devices that had finished by then
    held            the release stays in its stage
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ioto import duration

from ..http.errors import CloudError
from . import stop_rule, update_states
from .selection import PACKING_S
from .update_states import CLOCK_TOLERANCE_S

_Row = Mapping[Any, Any]
MOST = 20  # stages
LONGEST_S = 366 * 86400
DEFAULT_GATE = "1 finished, 5% failed, health"
_PERCENTAGE = r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%"
_STAGE = re.compile(_PERCENTAGE + r"(?:\s+(\S.*))?")
_FINISHED = re.compile(r"([0-9]{1,9})\s+finished")
_FAILED = re.compile(_PERCENTAGE + r"\s+failed")
_UNITS = {"h": "hour", "d": "day", "w": "week"}  # shorter than those of ioto.duration
_SHORT = re.compile(r"([0-9]+)\s*([hdw])", re.IGNORECASE)


class Stage(NamedTuple):
    """`soak_s`: minimum duration; 0 for the last stage, which does not end."""

    percentage: float
    soak_s: int


class Gate(NamedTuple):
    """The conditions that must be met before the next stage begins."""

    least: int = 0  # devices that have finished in this stage
    percent: float | None = None  # highest share of failures among all that have finished
    health: bool = False  # the devices' health is not worse than on the version before


class Wait(NamedTuple):
    """A condition of the gate that is not met yet. `name`: a key of WAITS; `says`: what it waits for."""

    name: str
    says: str


WAITS = {
    "status": "the release is not offered now",
    "hold": "the stage is held",
    "stop": "its stop rule applies",
    "soak": "the time of the stage is not over",
    "finished": "too few devices have finished in this stage",
    "failures": "too many devices failed",
    "health": "the devices' health is worse than on the version before",
}


def parse(text: str) -> tuple[Stage, ...]:
    """The stages in `text`. CloudError names the invalid part."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MOST:
        raise CloudError("stages: %d stages, allowed: %d" % (len(parts), MOST))
    found: list[Stage] = []
    for number, part in enumerate(parts, 1):
        before = found[-1].percentage if found else 0
        found.append(_stage(number, part, before, number == len(parts)))
    return tuple(found)


def _stage(number: int, part: str, before: float, last: bool) -> Stage:
    said = _STAGE.fullmatch(part)
    where = "stages: stage %d, `%s`: " % (number, part[:40])
    if not said:
        raise CloudError(where + 'expected: a percentage and a time, such as "10% 1 day"')
    percentage = float(said[1])
    if not before < percentage <= 100:
        raise CloudError(where + "its percentage must be above %g and at most 100" % before)
    if last and said[2]:
        raise CloudError(where + "the last stage does not end: leave its time out, or add a stage")
    if not last and not said[2]:
        raise CloudError(where + 'its time is missing: add one, such as "%g%% 1 day"' % percentage)
    return Stage(percentage, 0 if last else _soak_s(said[2], where))


def _soak_s(text: str, where: str) -> int:
    short = _SHORT.fullmatch(text)
    try:
        seconds: int = duration.parse(short[1] + " " + _UNITS[short[2].lower()] if short else text)
    except ValueError as e:
        raise CloudError(where + "%s: %s" % (text[:40], e)) from e
    if not 0 < seconds <= LONGEST_S:
        raise CloudError(where + "%s: expected: 1 second to a year" % text[:40])
    return seconds


def format(stages: tuple[Stage, ...]) -> str:
    """The stages as text that parse() accepts."""
    return ", ".join(
        "%g%%%s" % (each.percentage, " " + format_duration(each.soak_s) if each.soak_s else "") for each in stages
    )


def format_duration(seconds: int) -> str:
    """The duration as text for duration.parse(), in the largest unit that leaves no remainder."""
    size, unit = next(
        each for each in ((86400, "day"), (3600, "hour"), (60, "min"), (1, "sec")) if seconds % each[0] == 0
    )
    return "%d %s%s" % (seconds // size, unit, "s" if seconds > size else "")


def parse_gate(text: str) -> Gate:
    """The gate in `text`. CloudError names the invalid part."""
    values: dict[str, Any] = {}
    for part in [] if text == "none" else [part.strip() for part in text.split(",")]:
        name, value = _gate_part(part)
        if name in values:
            raise CloudError("gate: `%s`: given twice" % part[:40])
        values[name] = value
    return Gate(**values)


def _gate_part(part: str) -> tuple[str, int | float | bool]:
    """(field of Gate, its value)."""
    if (finished := _FINISHED.fullmatch(part)) and int(finished[1]):
        return "least", int(finished[1])
    if (failed := _FAILED.fullmatch(part)) and float(failed[1]) <= 100:
        return "percent", float(failed[1])
    if part == "health":
        return "health", True
    raise CloudError('gate: `%s`: expected: a text such as "20 finished, 2%% failed, health", or none' % part[:40])


def format_gate(gate: Gate) -> str:
    """The gate as text that parse_gate() accepts."""
    parts = ["%d finished" % gate.least] if gate.least else []
    parts += ["%g%% failed" % gate.percent] if gate.percent is not None else []
    return ", ".join(parts + (["health"] if gate.health else [])) or "none"


# ---- the stage of a release


def finished(ended: Mapping[str, int]) -> int:
    """The number of devices that have finished, as the stop rule counts them."""
    return sum(ended.get(state, 0) for state in update_states.OUTCOMES)


def failed_percent(ended: Mapping[str, int]) -> float:
    """The share of failures among the devices that have finished, in percent."""
    return 100 * sum(ended.get(state, 0) for state in update_states.FAILURES) / max(1, finished(ended))


def begin(stages: tuple[Stage, ...], number: int, ended: Mapping[str, int], now_s: int) -> dict[str, Any]:
    """The columns of a release that begins the stage with this index now."""
    return {
        "percentage": stages[number].percentage,
        "stage": number,
        "stage_s": now_s,
        "stage_finished": finished(ended),
    }


def place(
    values: Mapping[str, Any],
    said: Mapping[str, Any],
    before: _Row | None,
    ended: Mapping[str, int],
    now_s: int,
) -> dict[str, Any]:
    """The columns that follow from the terms `values` of a release with the row `before`; None: a new release.

    A release that is in a stage with a percentage of the new plan stays in it, with its time. Any other begins the
    first stage. CloudError if `said`, the terms that were given, also changes the percentage.
    """
    if values["stages"] is None:
        return {"stage": None, "stage_s": None, "stage_finished": None, "held": False}
    if said.get("percentage") is not None and (before is None or values["percentage"] != before["percentage"]):
        raise CloudError(
            "percentage %s: the stages set it: leave it out, or remove the stages with `none`" % said["percentage"]
        )
    found = parse(values["stages"])
    if before is not None and before["stages"] is not None:
        for number, stage in enumerate(found):
            if stage.percentage == before["percentage"]:
                last = number == len(found) - 1
                return {"stage": number, "percentage": stage.percentage, "held": before["held"] and not last}
    return {**begin(found, 0, ended, now_s), "held": False}


def due_s(row: _Row) -> int | None:
    """The end of the current stage's minimum duration; None: the stage does not end."""
    found = parse(row["stages"]) if row["stages"] else ()
    if not found or row["stage"] >= len(found) - 1:
        return None
    return max(began_s(row), row["start_s"] or 0) + found[row["stage"]].soak_s


def began_s(row: _Row) -> int:
    """When the current stage began; of a release that waits for its packed files, when it begins at the latest."""
    stage_s: int = row["stage_s"]
    if not row.get("waits_for_packed"):
        return stage_s
    return max(stage_s, min(row["created_s"], stage_s) + PACKING_S)  # `created_s` may be from a clock that was ahead


def is_ahead(stage_s: int, now_s: int) -> bool:
    """Is `stage_s`, the recorded start of the stage, in the future, from a wrong clock?"""
    return stage_s > now_s + CLOCK_TOLERANCE_S


def waits_for(row: _Row, status: str, ended: Mapping[str, int], now_s: int) -> list[Wait]:
    """The conditions for the next stage that are not met, without `health`; for a release that has a next stage.

    `status`: from catalogue.status(); `ended`: {state: number of devices whose last attempt ended in it}.
    """
    gate, found = parse_gate(row["gate"]), []
    due, share = due_s(row) or 0, failed_percent(ended)
    missing = gate.least - (finished(ended) - (row["stage_finished"] or 0))
    if status != "active":
        found.append(Wait("status", "the release to be active: it is %s" % status))
    if row["held"]:
        found.append(Wait("hold", "the end of the hold"))
    if stop_rule.applies(ended, row["stop_after"], row["stop_percent"]):
        found.append(Wait("stop", "its stop rule, which still applies"))
    if now_s < due or is_ahead(row["stage_s"], now_s):
        found.append(Wait("soak", "until %s" % datetime.fromtimestamp(due, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")))
    if gate.least and missing > 0:
        found.append(Wait("finished", "%d more finished %s" % (missing, "device" if missing == 1 else "devices")))
    if gate.percent is not None and share > gate.percent:
        found.append(Wait("failures", "failures %.3g%% > %g%%" % (share, gate.percent)))
    return found
