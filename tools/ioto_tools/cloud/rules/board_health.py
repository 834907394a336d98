"""Reads the health of a board from the properties of its check-in. Pure; missing and invalid values are left out."""

from collections.abc import Mapping
from typing import Any

from .failure_details import RESETS

APP_NUMBERS = 8  # numbers that the application may add
NAME_LENGTH = 64
_MOST = 2**53
# name -> (least, most, meaning)
NUMBERS = {
    "up": (0, _MOST, "seconds since the program started"),
    "free": (0, _MOST, "bytes free in MicroPython's heap"),
    "least": (0, _MOST, "smallest number of bytes free in the heap since the start"),
    "fs": (0, _MOST, "bytes free in the file system"),
    "rssi": (-200, 100, "signal strength in dBm"),
}


def read(properties: Mapping[str, Any]) -> dict[str, Any]:
    """{name of NUMBERS: number, "resets": {cause: number of starts}, "app": {name: number}}, without missing parts.

    `up` is a property of its own, the others are in the property `health`.
    """
    sent = properties.get("health")
    values: Mapping[str, Any] = {**(sent if isinstance(sent, dict) else {}), "up": properties.get("up")}
    found: dict[str, Any] = {
        name: values[name]
        for name, (least, most, _) in NUMBERS.items()
        if type(values.get(name)) is int and least <= values[name] <= most
    }
    if resets := _resets(values.get("resets")):
        found["resets"] = resets
    if numbers := _app_numbers(values.get("app")):
        found["app"] = numbers
    return found


def _resets(value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        return {}
    return {cause: value[cause] for cause in RESETS if type(value.get(cause)) is int and 0 < value[cause] <= _MOST}


def _app_numbers(value: Any) -> dict[str, int | float]:
    if not isinstance(value, dict):
        return {}
    valid = {name: number for name, number in value.items() if _is_name(name) and _is_number(number)}
    return dict(list(valid.items())[:APP_NUMBERS])


def _is_name(name: str) -> bool:
    return 0 < len(name) <= NAME_LENGTH and name.isprintable()


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MOST
