"""Format the results of the suite: text for a terminal, a Markdown table, and an object for JSON."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ..image.esp import CHIPS
from .run_checks import Result

_UNITS = {"ms": "ms", "s": "s", "bytes": "bytes", "kb_s": "KB/s", "dbm": "dBm", "permille": "‰"}
_HIDDEN = ("home", "other", "offer", "set_s")  # not measurements: values that one step passes to the next


def as_object(info: dict[str, Any], results: Iterable[Result]) -> dict[str, Any]:
    """The board and all checks, as an object for JSON."""
    board = {"machine": info["machine"], "chip": CHIPS.get(info["chip"], info["chip"]), "agent": info["agent"]}
    board["micropython"] = ".".join(str(n) for n in info["version"][:3])
    return {"board": board, "checks": [{**vars(each), "found": measurements(each)} for each in results]}


def measurements(result: Result) -> dict[str, Any]:
    """The measurements of a check that are shown, sorted by name."""
    return {key: value for key, value in sorted(result.found.items()) if key not in _HIDDEN}


def describe(result: Result) -> str:
    """The measurements as text, for example `erase 45.1 ms, write 8.2 ms`, or why the check failed or was not run."""
    if result.result != "passed":
        return result.why
    return ", ".join(_words(key, value) for key, value in measurements(result).items()) or "as expected"


def _words(key: str, value: Any) -> str:
    for unit in sorted(_UNITS, key=len, reverse=True):
        if key.endswith("_" + unit):
            return "%s %s %s" % (key[: -len(unit) - 1].replace("_", " "), value, _UNITS[unit])
    return "%s %s" % (key.replace("_", " "), value)


def markdown(results: Iterable[Result]) -> Iterator[str]:
    """The table for docs/boards.md: the results, and a column for a real board."""
    yield "| check | virtual board | a real board |"
    yield "| --- | --- | --- |"
    for each in results:
        yield "| %s | %s: %s | not yet measured |" % (each.name, each.result, re.sub(r"\s+", " ", describe(each)))
