"""Selects the release that a device is offered, and explains why each other release is not offered. Pure.

The releases of the product are checked from the highest version down. The first one that no reason excludes is offered.
If the release that the device runs is reached before that, none is offered.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ioto import image, semver

from ..policy import Policy
from ..policy.values import Properties, SortKey
from .packed_files import Files
from .update_states import OPEN, WITHDRAWN, is_new, must_wait, next_try, rollout_position

ACTIVE = "active"
RELEASE_STATES = (ACTIVE, "awaiting", "paused", "cancelled")

# Reasons why a release is not offered, in the order in which they are checked.
REASONS_NOT_OFFERED = {
    "unclaimed": "the device is not claimed: `ioto device claim`",
    "version": "the device has sent no SemVer 2.0 version",
    "below": "a higher version is offered, or already runs",
    "pinned": "the device is pinned to another version",
    "disabled": "it is disabled: `ioto updates enable`",
    "awaiting": "it awaits approval: `ioto updates approve`",
    "paused": "it is paused: `ioto updates resume`",
    "cancelled": "it is cancelled",
    "packing": "its packed files are being made, for an hour at most",
    "runs": "the device runs this version",
    "chip": "its image is for another chip",
    "revision": "its image is for other revisions of the chip",
    "too_large": "its image is larger than the device's slot",
    "minimum": "its signed minimum version is higher than the device's version",
    "expired": "its signed expiry date has passed",
    "early": "its schedule has not begun",
    "late": "its schedule has ended",
    "policy": "its policy does not match the device",
    "tried": "its attempts on the device are used up: `ioto updates retry`",
    "waits": "the next attempt on the device is not due yet",
    "stage": "the device is not in its current stage",
    "percentage": "the device is outside its percentage",
    "new": "the device is too new for a release with a limit or rate: `ioto device claim`, or change the term age",
    "limit": "its limit is reached",
    "rate": "its rate is reached in this period",
}


@dataclass(slots=True)
class Release:
    """A release, prepared for the decision. `order`: its version as returned by semver.parse()."""

    id: str
    version: str
    order: SortKey
    checksum: str
    size: int
    enabled: bool
    state: str
    policy: Policy
    facts: Properties  # `update` in a policy
    percentage: float = 100
    told: dict[str, Any] = field(default_factory=dict)  # by told()
    in_stages: bool = False  # the percentage is that of the current stage
    stage_s: int | None = None  # when the stage began
    stage_due_s: int | None = None  # when its time is over; None: it does not end
    start_s: int | None = None
    end_s: int | None = None
    limited: bool = False  # has a limit or a rate
    age_s: int = 0  # for how long a device must have been known to get one of the limited slots
    image_bytes: int = 0  # without the envelope
    chip: int | None = None  # None: not an ESP chip, or unknown
    head: bytes | None = None  # the first 24 bytes of the image; None as for `chip`
    minimum: SortKey | None = None  # from the signed manifest, parsed like `order`
    expires_s: int | None = None  # from the signed manifest
    packed: Files = field(default_factory=dict)
    packing_s: int | None = None  # it was published then, and waits for its packed files


@dataclass(slots=True)
class Grant:
    """The state of a release on a device that was offered it (update_states.py), with its counts and times."""

    version: str  # the release's
    before: str  # the version that the device ran at the offer
    tries: int
    attempt: int
    state: str
    ended: str | None  # the state in which the last attempt ended
    offered_s: int  # time of the last offer
    changed_s: int
    retry: int = 0  # how often an operator requested another try
    file: str | None = None  # the file that the device was offered, as in packed_files.py
    whole: bool = False  # a packed file has failed on the device, so it is offered the whole image


@dataclass(slots=True)
class RequestingDevice:
    """A device that checks in. `order` and `pin`: versions as returned by semver.parse()."""

    id: str
    order: SortKey | None  # None: the device sent no valid version
    properties: Properties  # the body of the check-in: `device` in a policy
    pin: SortKey | None = None
    grants: dict[str, Grant] = field(default_factory=dict)  # by the release's id
    verdicts: dict[str, bool] = field(default_factory=dict)  # by the release's id: does its policy match?
    known_since_s: int = 0  # time of its first registration; 0: an operator vouches for it
    claimed: bool = True


Room = Callable[[Release], str | None]  # "limit" or "rate" if the release can't be offered to another device now
PACKING_S = 3600  # a release waits for its packed files for this time at most
Decision = tuple[Release, str | None]  # None: the release is offered; otherwise a key of REASONS_NOT_OFFERED
_Versioned = TypeVar("_Versioned", bound=Mapping[str, Any])

VERSION_LENGTH = 128
VERSION_WANTED = "expected: SemVer 2.0, such as 1.4.0 or 2.0.0-rc.1, of %d characters at most" % VERSION_LENGTH


def is_version(text: str) -> bool:
    """Is `text` a valid version of a release? If not, VERSION_WANTED is the second part of the error message."""
    return len(text) <= VERSION_LENGTH and semver.is_valid(text)


def precedence(version: str) -> str:
    """The part of a valid version that SemVer compares: all but the build metadata. Equal parts are equal versions."""
    return version.split("+")[0]


def sort_newest_first(releases: Iterable[_Versioned]) -> list[_Versioned]:
    """Sort `releases` (mappings with `version`) by descending precedence."""
    return sorted(releases, key=lambda release: semver.parse(release["version"]), reverse=True)


def select_release(releases: Iterable[Release], asker: RequestingDevice, now_s: int, room: Room) -> Release | None:
    """The release that the device is offered, or None. `releases`: by descending version."""
    policies_apply, verdicts = asker.pin is None, asker.verdicts
    for release in releases:
        # Most releases are for other devices: the cached result of the policy makes the other checks unnecessary.
        if policies_apply and verdicts.get(release.id) is False and release.order != asker.order:
            continue
        why = reason_not_offered(release, asker, now_s, room)
        if why is None:
            return release
        if why == "runs":
            return None
    return None


def explain(releases: Iterable[Release], asker: RequestingDevice, now_s: int, room: Room) -> list[Decision]:
    """The decision on each release, in the order of `releases`."""
    found, searching = [], True
    for release in releases:
        why = reason_not_offered(release, asker, now_s, room) if searching else "below"
        searching = searching and why not in (None, "runs")
        found.append((release, why))
    return found


def reason_not_offered(release: Release, asker: RequestingDevice, now_s: int, room: Room) -> str | None:
    """The reason not to offer the release to the device, a key of REASONS_NOT_OFFERED, or None.

    A pin replaces policy, schedule, percentage and age. For a device that already has a rollout slot, percentage, age,
    limit and rate are not checked again.
    """
    if not asker.claimed:
        return "unclaimed"
    if asker.order is None:
        return "version"
    if asker.pin is not None and asker.pin != release.order:
        return "pinned"
    if not release.enabled:
        return "disabled"
    if release.state != ACTIVE:
        return release.state
    if is_packing(release.packing_s, now_s):
        return "packing"
    if release.order == asker.order:
        return "runs"
    if why := _unfit(release, asker, now_s):
        return why
    if asker.pin is None and (why := _not_selected(release, asker, now_s)):
        return why
    grant = asker.grants.get(release.id)
    if grant is not None and grant.state != WITHDRAWN:
        return _not_due(grant, now_s)
    if asker.pin is None and release.percentage < 100 and rollout_position(release.id, asker.id) >= release.percentage:
        return "stage" if release.in_stages else "percentage"
    if asker.pin is None and release.limited and is_new(asker.known_since_s, release.age_s, now_s):
        return "new"
    return room(release)


def is_packing(packing_s: int | None, now_s: int) -> bool:
    """Does the release still wait for its packed files? `packing_s`: as in Release."""
    # A time that is far in the future was written with a wrong clock.
    return packing_s is not None and -PACKING_S < now_s - packing_s < PACKING_S


def _unfit(release: Release, asker: RequestingDevice, now_s: int) -> str | None:
    """The reason why the device would have to refuse the release, a key of REASONS_NOT_OFFERED, or None.

    Missing properties, and properties of another type, are ignored.
    """
    sent = asker.properties
    chip, revision, slot_bytes = sent.get("chip"), sent.get("revision"), sent.get("slotSize")
    if release.chip is not None and type(chip) is int and chip != release.chip:
        return "chip"
    if (
        release.head is not None
        and type(chip) is int
        and type(revision) is int
        and not image.runs_on(release.head, revision)
    ):
        return "revision"
    if type(slot_bytes) is int and slot_bytes < release.image_bytes:
        return "too_large"
    if release.minimum is not None and asker.order is not None and asker.order < release.minimum:
        return "minimum"
    return "expired" if release.expires_s is not None and now_s > release.expires_s else None


def _not_selected(release: Release, asker: RequestingDevice, now_s: int) -> str | None:
    if why := out_of_schedule(release.start_s, release.end_s, now_s):
        return why
    holds = asker.verdicts.get(release.id)
    if holds is None:
        holds = asker.verdicts[release.id] = release.policy(asker.properties, release.facts)
    return None if holds else "policy"


def out_of_schedule(start_s: int | None, end_s: int | None, now_s: int) -> str | None:
    """Return "early", "late", or None if the time is within the schedule."""
    if start_s is not None and now_s < start_s:
        return "early"
    return "late" if end_s is not None and now_s >= end_s else None


def _not_due(grant: Grant, now_s: int) -> str | None:
    if grant.state in OPEN:
        return None
    found = next_try(grant.state, grant.tries, grant.attempt, grant.changed_s)
    if found is None:
        return "tried"
    _, due_s = found
    return "waits" if must_wait(due_s, grant.changed_s, now_s) else None


def told(kind: str, notes: str, advisory: str, no_defer_after_s: int | None) -> dict[str, Any]:
    """The fields of a check-in's response that tell a device about a release; without those that say nothing."""
    fields = {"kind": kind, "notes": notes, "advisory": advisory, "noDeferAfter": no_defer_after_s}
    if kind == "feature":
        del fields["kind"]
    return {name: value for name, value in fields.items() if value}


def check_in_response(
    release: Release | None, url: str | None, retry: int = 0, told: bool = True, size: int | None = None
) -> dict[str, Any]:
    """The response body of a check-in, {} if `release` is None.

    It has the four fields of the protocol, `size`, `retry` if it is not 0, and with `told` those of told(). `size`: of
    the file at `url`, if it is a packed file. Some clients search the text for `"key":`, so the caller writes compact
    JSON, and no key occurs in another key's value.
    """
    if release is None:
        return {}
    return {
        "url": url,
        "checksum": release.checksum,
        "update": release.id,
        "version": release.version,
        "size": release.size if size is None else size,
        **({"retry": retry} if retry else {}),
        **(release.told if told else {}),
    }
