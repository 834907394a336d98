"""Parses and validates what devices send. Pure: bytes and strings in, values out, Refusal if invalid.

Every error names the field and says what is allowed. Unknown fields are kept and are never an error.
"""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple, NoReturn

import orjson

from ..http.errors import Refusal
from ..rules import failure_details
from ..rules.selection import VERSION_LENGTH

Fields = dict[str, Any]  # the JSON object that a device sends

BODY_BYTES = 16 * 1024  # more than any device.json
DEPTH = 16

# The states that a report may contain, in the order of an update. update_states.py has the transitions.
STATES = ("downloading", "staged", "deferred", "applied", "confirmed", "failed", "rolled_back", "refused")
ATTEMPTS = 99
NEXT_S = 366 * 24 * 3600
ID_LENGTH = 128
REASON_LENGTH = 256

_BEARER = re.compile(r"(?:bearer\s+)?(\S{1,512})", re.IGNORECASE)
# Older updater programs (C, shell) send a trailing comma if no property was passed to them.
_TRAILING_COMMA = re.compile(r"([^{,\s])\s*,\s*\}\s*\Z")


class CheckIn(NamedTuple):
    id: str
    product: str | None
    version: str
    properties: Fields  # the whole body without `failure`
    next_s: int | None  # planned seconds until its next check-in; None: not this project's agent
    staged: str | None  # the update that is staged on the device
    attempt: int  # as counted by the device
    failure: Any  # the last failure of its program, in any form; None: not sent


class Report(NamedTuple):
    id: str
    update: str
    attempt: int
    state: str
    success: bool
    reason: str
    version: str | None
    details: Any  # of a failure, in any form; None: not sent


def bearer_token(header: str | None) -> str:
    """The token in an Authorization header: `bearer TOKEN` (`bearer` in upper or lower case), or TOKEN alone.

    Raises Refusal 401 if there is none. Its text does not make a device delete its registration: a proxy that drops the
    header must not make a fleet lose its tokens.
    """
    found = _BEARER.fullmatch((header or "").strip())
    if not found or found[1].lower() == "bearer":
        raise Refusal(401, "Authorization: send `bearer TOKEN`")
    return found[1]


def parse_body(body: bytes) -> Fields:
    """The JSON object in `body`. Raises Refusal 400 if `body` is not a JSON object."""
    try:
        found = orjson.loads(body)
    except ValueError:
        found = _parse_leniently(body)
    if not isinstance(found, dict):
        raise Refusal(400, "body: expected a JSON object")
    if body.count(b"{") + body.count(b"[") > DEPTH and not _is_within_depth(found):
        raise Refusal(400, "body: nested more than %d levels deep" % DEPTH)
    return found


def _parse_leniently(body: bytes) -> Any:
    """Parse a body that orjson rejects, using the standard library. Raises Refusal with the cause if that fails too."""
    try:
        text = body.decode()
        return _loads(text)
    except UnicodeDecodeError as e:
        raise Refusal(400, "body: not UTF-8 at byte %d" % e.start) from None
    except RecursionError:
        raise Refusal(400, "body: nested more than %d levels deep" % DEPTH) from None
    except ValueError as e:
        raise Refusal(400, "body: not JSON: %s" % e) from None


def to_json(fields: Fields) -> str:
    """The JSON text of an object returned by parse_body()."""
    try:
        return orjson.dumps(fields).decode()
    except TypeError:  # a lone surrogate, which only the standard library accepts
        return json.dumps(fields)


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite_number)
    except ValueError:
        corrected = _TRAILING_COMMA.sub(r"\1}", text)
        if corrected == text:
            raise
        return json.loads(corrected, parse_constant=_refuse_constant, parse_float=_finite_number)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError("%s is not JSON" % name)


def _finite_number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("the number %s is out of range" % text[:20])
    return number


def _is_within_depth(found: Fields) -> bool:
    level = [found]
    for _ in range(DEPTH):
        level = [inner for each in level if isinstance(each, (dict, list)) for inner in _members(each)]
        if not level:
            return True
    return not any(isinstance(each, (dict, list)) for each in level)


def _members(container: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def device_id(fields: Fields) -> str:
    """The device's id in the body of a request. Raises Refusal 400."""
    return _text(fields, "id", ID_LENGTH)


def check_in(fields: Fields) -> CheckIn:
    """The CheckIn in the body of a check-in. Removes `failure` from `fields`. Raises Refusal 400."""
    failure = fields.pop("failure") if failure_details.is_failure(fields.get("failure")) else None
    return CheckIn(
        device_id(fields),
        _text(fields, "product", ID_LENGTH, None),
        _text(fields, "version", VERSION_LENGTH),
        fields,
        _integer_or_none(fields, "next", NEXT_S),
        fields.get("staged") if isinstance(fields.get("staged"), str) else None,
        _integer_or_none(fields, "attempt", ATTEMPTS) or 0,
        failure,
    )


def report(fields: Fields) -> Report:
    """The Report in the body of a report. Raises Refusal 400.

    Other clients send only `success`: true means `confirmed`, false means `failed`; the attempt is 0.
    """
    success = _boolean(fields, "success")
    state = _text(fields, "state", 16, "confirmed" if success else "failed")
    if state not in STATES:
        raise Refusal(400, "state: %s, allowed: %s" % (_excerpt(state), ", ".join(STATES)))
    return Report(
        device_id(fields),
        _text(fields, "update", ID_LENGTH),
        _integer(fields, "attempt", ATTEMPTS),
        state,
        success,
        _reason(fields),
        _text(fields, "version", VERSION_LENGTH, None),
        fields.get("details"),
    )


_REQUIRED = object()


def _text(fields: Fields, name: str, length: int, default: Any = _REQUIRED) -> Any:
    value = fields.get(name)
    if value is None or value == "" and default is not _REQUIRED:
        if default is _REQUIRED:
            raise Refusal(400, "%s: missing" % name)
        return default
    # isprintable() excludes control characters and lone surrogates, which break terminals and databases.
    if not isinstance(value, str) or not 0 < len(value) <= length or not value.isprintable() or value != value.strip():
        raise Refusal(
            400, "%s: %s, expected: a printable string of 1 to %d characters" % (name, _excerpt(value), length)
        )
    return value


def _reason(fields: Fields) -> str:
    # A long reason is truncated, not refused: devices drop refused reports, and the outcome matters more than the text.
    value = fields.get("reason") or ""
    if not isinstance(value, str):
        raise Refusal(400, "reason: %s, expected: a string" % _excerpt(value))
    return "".join(c if c.isprintable() else "?" for c in value[:REASON_LENGTH])


def _boolean(fields: Fields, name: str) -> bool:
    value = fields.get(name)
    if isinstance(value, str):  # the shell updater quotes it
        value = {"true": True, "false": False}.get(value.lower())
    if not isinstance(value, bool):
        raise Refusal(400, "%s: %s, expected: true or false" % (name, _excerpt(fields.get(name))))
    return value


def _integer_or_none(fields: Fields, name: str, most: int) -> int | None:
    """A non-negative integer, capped at `most`; None if the field has any other value.

    Another value is not an error, because a device's own property may have this name.
    """
    value = fields.get(name)
    return min(value, most) if type(value) is int and value >= 0 else None


def _integer(fields: Fields, name: str, most: int) -> int:
    """An integer from 0 to `most`, 0 if it is missing. Raises Refusal 400."""
    value = fields.get(name, 0)
    if isinstance(value, str) and re.fullmatch("[0-9]{1,4}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise Refusal(400, "%s: %s, expected: a whole number from 0 to %d" % (name, _excerpt(fields.get(name)), most))
    return value


def _excerpt(value: Any) -> str:
    return json.dumps(value)[:60]
