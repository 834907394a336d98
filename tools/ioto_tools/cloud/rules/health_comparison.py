"""Compares the health of devices that run a release with that of devices on the version before. Pure.

Both are samples of what the devices sent at their last check-ins (the object `health`). The health is worse if the
median of the smallest free heap is below HEAP_SHARE of the median before, or if the unexpected resets per
check-in rose to more than RESETS_TIMES as many, and by at least RESETS_MORE.
"""

import statistics
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from . import board_health

LEAST = 10  # devices of each version; with fewer, nothing is compared
HEAP_SHARE = 0.8
RESETS_TIMES = 2
RESETS_MORE = 0.1
UNEXPECTED = ("hard", "wdt", "brownout", "other")  # not: power, deepsleep, soft
_RESETS_MOST = 10  # counted for one board, so that a single board does not decide


class Sample(NamedTuple):
    """The smallest number of free bytes in the heap; the unexpected resets since the last check-in; None: not sent."""

    least: int | None
    resets: int | None


class Comparison(NamedTuple):
    """`worse`: what is worse, one text each; `ignored`: what is not compared because there is too little data."""

    worse: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def sample(properties: Mapping[str, Any]) -> Sample:
    """The Sample in the properties of a check-in. Invalid values are left out."""
    health, sent = board_health.read(properties), properties.get("health")
    has_resets = isinstance(sent, dict) and isinstance(sent.get("resets"), dict)
    unexpected = sum(health.get("resets", {}).get(cause, 0) for cause in UNEXPECTED)
    return Sample(health.get("least", health.get("free")), min(unexpected, _RESETS_MOST) if has_resets else None)


def compare(new: Iterable[Sample], old: Iterable[Sample]) -> Comparison:
    """Compare devices that run the release, `new`, with devices on the version before, `old`."""
    new, old = list(new), list(old)
    worse, ignored = [], []
    heap = [[each.least for each in side if each.least is not None] for side in (new, old)]
    if lacking := _lacking("free heap", *heap):
        ignored.append(lacking)
    elif (now := statistics.median(heap[0])) < HEAP_SHARE * (before := statistics.median(heap[1])):
        worse.append("free heap %d bytes, before %d" % (now, before))
    resets = [[each.resets for each in side if each.resets is not None] for side in (new, old)]
    if lacking := _lacking("resets", *resets):
        ignored.append(lacking)
    else:
        now, before = statistics.mean(resets[0]), statistics.mean(resets[1])
        if now > RESETS_TIMES * before and now - before >= RESETS_MORE:
            worse.append("unexpected resets %.2f for each check-in, before %.2f" % (now, before))
    return Comparison(tuple(worse), tuple(ignored))


def _lacking(name: str, new: list[int], old: list[int]) -> str | None:
    """Why `name` is not compared; None if there is enough data."""
    if min(len(new), len(old)) >= LEAST:
        return None
    return "%s: too little data: sent by %d devices with the release and %d with the version before, %d needed" % (
        name, len(new), len(old), LEAST,
    )  # fmt: skip
