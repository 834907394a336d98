"""SemVer 2.0.0 (semver.org): which strings are versions, and which comes first. Pure."""

_IDENT = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-"


def parse(text):
    """A sort key: tuples compare as versions do, build metadata left out. ValueError if `text` is no version."""
    if not isinstance(text, str) or len(text) > 256:
        raise ValueError("no SemVer version: %s" % str(text)[:40])
    core, plus, meta = text.partition("+")
    core, dash, pre = core.partition("-")
    numbers = core.split(".")
    if (
        len(numbers) != 3
        or not all(_number(n) for n in numbers)
        or (plus and not all(_ident(i) for i in meta.split(".")))
        or (dash and not all(_ident(i) and (_number(i) or not _digits(i)) for i in pre.split(".")))
    ):
        raise ValueError("no SemVer version (like 1.2.3 or 1.2.3-rc.1): %s" % text)
    # A release comes after its pre-releases; numbers come before words, and a longer list after its beginning.
    last = tuple((0, int(i), "") if _digits(i) else (1, 0, i) for i in pre.split(".")) if dash else ()
    return tuple(int(n) for n in numbers) + (0 if dash else 1, last)


def _digits(text):
    return bool(text) and all("0" <= c <= "9" for c in text)


def _number(text):
    return _digits(text) and (text == "0" or text[0] != "0")


def _ident(text):
    return bool(text) and all(c in _IDENT for c in text)


def is_valid(text):
    try:
        return bool(parse(text))
    except ValueError:
        return False


def compare(a, b):
    """-1, 0 or 1; ValueError if either is no version."""
    a, b = parse(a), parse(b)
    return (a > b) - (a < b)
