"""What the suite found, in words: a table for a terminal, one for a page, an object for programs."""

import re

from ..image.esp import CHIPS

_UNITS = {"ms": "ms", "s": "s", "bytes": "bytes", "kb_s": "KB/s", "dbm": "dBm", "permille": "‰"}
_HIDDEN = ("home", "other", "offer", "set_s")  # what steps tell each other


def as_object(told, results):
    """For JSON: the board, and each check."""
    board = {"machine": told["machine"], "chip": CHIPS.get(told["chip"], told["chip"]), "agent": told["agent"]}
    board["micropython"] = ".".join(str(n) for n in told["version"][:3])
    return {"board": board, "checks": [{**vars(each), "found": shown(each)} for each in results]}


def shown(result):
    """What a check has to tell, in an order that does not depend on the board's."""
    return {key: value for key, value in sorted(result.found.items()) if key not in _HIDDEN}


def words(result):
    """What a check found, or why it did not: `erase 45.1 ms, write 8.2 ms`."""
    if result.result != "passed":
        return result.why
    return ", ".join(_words(key, value) for key, value in shown(result).items()) or "as it should be"


def _words(key, value):
    for unit in sorted(_UNITS, key=len, reverse=True):
        if key.endswith("_" + unit):
            return "%s %s %s" % (key[: -len(unit) - 1].replace("_", " "), value, _UNITS[unit])
    return "%s %s" % (key.replace("_", " "), value)


def markdown(results):
    """Rows for docs/boards.md: what was found, and room for a real board."""
    yield "| check | virtual board | a real board |"
    yield "| --- | --- | --- |"
    for each in results:
        yield "| %s | %s: %s | not yet measured |" % (each.name, each.result, re.sub(r"\s+", " ", words(each)))
