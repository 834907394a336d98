"""The terms of a rollout: which devices, how many, how fast, when, what stops it; what devices are told. Pure.

Operators write them as text or numbers; "none" removes a limit.

    policy      an expression (docs/policy.md)
    limit       devices in total
    percentage  of the devices that the policy selects: 25, 25% or 0.5
    rate        devices in any `period`
    period      1 hour
    start, end  2026-03-01T08:00+01:00; UTC without a zone
    stop        5% after 20: pause once 20 devices have finished and 5 % of them or more failed
    stages      1% 1h, 10% 1d, 100%: percentages that rise one by one (stages.py), in place of `percentage`
    gate        20 finished, 2% failed, health: the conditions that must be met before the next stage begins
    age         1 day: newer devices get none of the limited slots, and their outcomes do not count for `stop`
    kind        feature, security
    notes       what is new, at most NOTES_BYTES
    advisory    the link to a security advisory
    no_defer_after  2026-03-01T08:00+01:00: from then on, devices do not postpone a security release
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ioto import duration, semver

from .. import policy
from ..http.addresses import is_http_url
from ..http.errors import CloudError
from . import stages
from .stages import format_duration

Values = dict[str, Any]  # by the columns of `releases`

NONE = "none"
KINDS = ("feature", "security")
NOTES_BYTES = 500  # of UTF-8, because a board has little memory
ADVISORY_LENGTH = 200
MAX_DEVICES = 2**31 - 1
LAST_S = 253402300799  # 9999-12-31T23:59:59Z: the maximum of datetime
LONGEST_S = 366 * 86400  # of a period
DEFAULTS: Values = {
    "policy": policy.DEFAULT_POLICY,
    "percentage": 100.0,
    "age_s": 86400,
    "kind": "feature",
    "notes": "",
    "advisory": "",
}  # the defaults; all other terms are None
COLUMNS = (
    "policy", "limit", "percentage", "rate", "period_s", "start_s", "end_s", "stop_percent", "stop_after", "age_s",
    "stages", "gate", "kind", "notes", "advisory", "no_defer_after_s",
)  # fmt: skip
_STOP = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%?\s+after\s+([0-9]{1,9})")
_PERCENTAGE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%?")


def parse_terms(said: Mapping[str, Any], before: Mapping[str, Any] | None = None, now_s: int = 0) -> Values:
    """All terms of a release: those that an operator gave in `said`, else those of `before` or the defaults.

    `said`: {term: text or number, None if not given}. CloudError names the invalid term; an `end` in `said` must be
    after `now_s`.
    """
    found = {name: (before or DEFAULTS).get(name) for name in COLUMNS}
    for name, text in said.items():
        if text is not None:
            found.update(_READ[name](name, str(text).strip()))
    if found["rate"] is None:
        found["period_s"] = None
    elif found["period_s"] is None:
        raise CloudError("rate %d: the period is missing: add one, such as `1 hour`" % found["rate"])
    if found["start_s"] is not None and found["end_s"] is not None and found["start_s"] >= found["end_s"]:
        raise CloudError("end: it must be after the start, or no device would be offered the update")
    if said.get("end") is not None and found["end_s"] is not None and found["end_s"] <= now_s:
        raise CloudError(
            "end %s: it is in the past: no device would be offered the update; to stop the update now, pause it"
            % said["end"]
        )
    if found["stages"] is None:
        if said.get("gate") is not None and said.get("stages") is None:
            raise CloudError("gate %s: the release has no stages: give stages, too" % said["gate"])
        found["gate"] = None
    elif found["gate"] is None:
        found["gate"] = stages.DEFAULT_GATE
    if found["no_defer_after_s"] is not None and found["kind"] != "security":
        raise CloudError(
            "no_defer_after: only a security release has such a date: give the kind security, or none here"
        )
    return found


def policy_warnings(text: str) -> list[str]:
    """Warnings about probable mistakes in a policy's text, one sentence each."""
    found = policy.compile(text)
    names = {name for term in found.terms for name, _ in term.names}
    if names & {"device.version", "version", "major"}:
        return found.warnings
    return found.warnings + [
        "the policy does not compare device.version: devices with a higher version are offered the update, too"
    ]


def version_warnings(version: str) -> list[str]:
    """Warnings about a version such as 1.0.0-alpha11, which SemVer sorts below 1.0.0-alpha2.

    1.0.0-alpha.11 is probably meant.
    """
    found = []
    for word in version.partition("+")[0].partition("-")[2].split("."):
        if parts := re.fullmatch(r"([A-Za-z-]+)([0-9]+)", word):
            what = version, word, parts[1], parts[1], *parts.groups()
            found.append(
                "version %s: SemVer compares %s character by character, so %s10 is lower than %s9: write %s.%s" % what
            )
    return found


def matches_embedded_version(embedded: str, version: str) -> bool:
    """Does the version text in an image match `version`?

    Also true if the text is not a version, such as MicroPython's empty text.
    """
    found = embedded.removeprefix("v")
    return not semver.is_valid(found) or semver.compare(found, version) == 0


def format_terms(release: Mapping[str, Any]) -> dict[str, Any]:
    """The terms of a release's row: {term: value that parse_terms() accepts, or None}."""
    stop = release["stop_percent"]
    return {
        "policy": release["policy"],
        "limit": release["limit"],
        "percentage": release["percentage"],
        "rate": release["rate"],
        "period": release["period_s"] and format_duration(release["period_s"]),
        "start": _shown_time(release["start_s"]),
        "end": _shown_time(release["end_s"]),
        "stop": None if stop is None else "%g%% after %d" % (stop, release["stop_after"]),
        "stages": release["stages"],
        "gate": release["gate"],
        "age": format_duration(release["age_s"]) if release["age_s"] else NONE,
        "kind": release["kind"],
        "notes": release["notes"] or None,
        "advisory": release["advisory"] or None,
        "no_defer_after": _shown_time(release["no_defer_after_s"]),
    }


def _shown_time(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _policy(name: str, text: str) -> Values:
    text = policy.DEFAULT_POLICY if text in ("", NONE) else text
    try:
        policy.compile(text)
    except policy.PolicyError as e:
        raise CloudError("policy: %s" % e) from e
    return {"policy": text}


def _count(name: str, text: str) -> Values:
    if text == NONE:
        return {name: None}
    if not re.fullmatch(r"[0-9]{1,10}", text) or not 0 < int(text) <= MAX_DEVICES:
        raise CloudError("%s %s: expected: a number of devices from 1 to %d, or none" % (name, text, MAX_DEVICES))
    return {name: int(text)}


def _percentage(name: str, text: str) -> Values:
    found = _PERCENTAGE.fullmatch("100" if text == NONE else text)
    if not found or float(found[1]) > 100:
        raise CloudError("percentage %s: expected: 0 to 100" % text)
    return {"percentage": float(found[1])}


def _period(name: str, text: str) -> Values:
    try:
        seconds = duration.parse(text)
    except ValueError as e:
        raise CloudError("%s %s: %s" % (name, text, e)) from e
    if not 0 < seconds <= LONGEST_S:
        raise CloudError("%s %s: expected: 1 second to a year" % (name, text))
    return {"period_s": seconds}


def _age(name: str, text: str) -> Values:
    return {"age_s": 0} if text in (NONE, "0") else {"age_s": _period(name, text)["period_s"]}


def _time(name: str, text: str) -> Values:
    column = name + "_s"
    if text == NONE:
        return {column: None}
    try:
        found = datetime.fromisoformat(text)
    except ValueError as e:
        raise CloudError("%s %s: expected: a date such as 2026-03-01T08:00+01:00, or none" % (name, text)) from e
    seconds = found.replace(tzinfo=found.tzinfo or UTC).timestamp()
    if not 0 <= seconds <= LAST_S:
        raise CloudError("%s %s: expected: a date from 1970 to 9999" % (name, text))
    return {column: int(seconds)}


def _stop(name: str, text: str) -> Values:
    if text == NONE:
        return {"stop_percent": None, "stop_after": None}
    found = _STOP.fullmatch(text)
    if not found or not 0 < float(found[1]) <= 100 or not 0 < int(found[2]):
        raise CloudError('stop %s: expected: a text such as "5%% after 20", or none' % text)
    return {"stop_percent": float(found[1]), "stop_after": int(found[2])}


def _stages(name: str, text: str) -> Values:
    return {"stages": None if text == NONE else stages.format(stages.parse(text))}


def _gate(name: str, text: str) -> Values:
    return {"gate": stages.format_gate(stages.parse_gate(text))}


def _kind(name: str, text: str) -> Values:
    if text not in (*KINDS, NONE):
        raise CloudError("kind %s: expected: %s" % (text[:40], " or ".join(KINDS)))
    return {"kind": KINDS[0] if text == NONE else text}


def _notes(name: str, text: str) -> Values:
    text = "" if text == NONE else text.replace("\r\n", "\n")
    if len(text.encode(errors="replace")) > NOTES_BYTES:
        raise CloudError("notes: %d bytes of UTF-8, allowed: %d" % (len(text.encode(errors="replace")), NOTES_BYTES))
    if not text.replace("\n", "").isprintable():
        raise CloudError("notes: expected: printable characters and line feeds")
    return {"notes": text}


def _advisory(name: str, text: str) -> Values:
    if text in ("", NONE):
        return {"advisory": ""}
    if len(text) > ADVISORY_LENGTH or not re.fullmatch(r"https?://[!-~]+", text) or not is_http_url(text):
        raise CloudError(
            "advisory %s: expected: a link such as https://example.com/advisory, of %d characters at most"
            % (text[:80], ADVISORY_LENGTH)
        )
    return {"advisory": text}


_READ: dict[str, Callable[[str, str], Values]] = {
    "policy": _policy, "limit": _count, "percentage": _percentage, "rate": _count, "period": _period,
    "start": _time, "end": _time, "stop": _stop, "stages": _stages, "gate": _gate, "age": _age, "kind": _kind,
    "notes": _notes, "advisory": _advisory, "no_defer_after": _time,
}  # fmt: skip
TERMS = tuple(_READ)
