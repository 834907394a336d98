"""Parse the Content-Range header (RFC 9110, 14.4). Pure."""

from .http_parse import number


def content_range(text):
    """(first, last, total) of `bytes F-L/T`, with total None for `bytes F-L/*`.

    None for anything else (unsatisfied, contradictory).
    """
    unit, _, rest = text.strip().partition(" ")
    span, _, total = rest.partition("/")
    first, _, last = span.partition("-")
    first, last, size = number(first), number(last), number(total)
    if (
        unit.lower() != "bytes"
        or None in (first, last)
        or total != "*"
        and size is None
        or not first <= last < (last + 1 if size is None else size)
    ):
        return None
    return first, last, size
