"""Parse and compare SemVer 2.0.0 versions (semver.org). Pure."""

from .ascii import DIGITS, LETTERS
from .errors import UpdateError

_IDENT = DIGITS + LETTERS + "-"


def parse(text):
    """Return a sort key: keys compare as their versions do. Build metadata is ignored.

    ValueError if `text` is not a version.
    """
    if isinstance(text, str) and len(text) <= 256:
        core, plus, meta = text.partition("+")
        core, dash, pre = core.partition("-")
        numbers = [_key(i) for i in core.split(".")]
        words = [_key(i) for i in pre.split(".")] if dash else []
        builds = meta.split(".") if plus else ["0"]
        if (
            len(numbers) == 3
            and None not in numbers + words
            and max(numbers)[0] == 0
            and "" not in builds
            and not "".join(builds).strip(_IDENT)
        ):
            return numbers, not dash, words  # a release sorts after its pre-releases, a list after its own prefix
    raise ValueError("not a SemVer version (like 1.2.3 or 1.2.3-rc.1): %s" % str(text)[:256])


def _key(text):
    """Return the sort key of an identifier: numbers before words; None if invalid."""
    if not text or text.strip(_IDENT) or text[0] == "0" and text != "0" and not text.strip(DIGITS):
        return None
    return (1, 0, text) if text.strip(DIGITS) else (0, int(text), "")


def is_valid(text):
    try:
        return bool(parse(text))
    except ValueError:
        return False


def compare(a, b):
    """Return -1, 0 or 1; ValueError if `a` or `b` is not a version."""
    a, b = parse(a), parse(b)
    return (a > b) - (a < b)


def not_below(version, running, floor):
    """UpdateError unless `version` is higher than `running` and not lower than `floor`.

    `floor` is the highest version ever confirmed, "" for none.
    """
    if compare(version, running) <= 0:
        raise UpdateError("version_not_newer", "%s, running %s" % (version, running))
    if floor and compare(version, floor) < 0:
        raise UpdateError("version_floor", "%s, highest confirmed %s" % (version, floor))
