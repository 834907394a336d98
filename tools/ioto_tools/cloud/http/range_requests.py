"""Range requests (RFC 9110, section 14) for a single byte range. Pure.

Unsupported ranges (other units, several ranges, bad syntax) are ignored: the response is the whole file with status
200.
"""

import re

_SINGLE_RANGE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,18})[ \t]*-[ \t]*([0-9]{0,18})[ \t]*", re.IGNORECASE)


def resolve_range(size: int, etag: str, wanted: str | None = None, if_range: str | None = None) -> tuple[int, int, int]:
    """(status, start, length) of the response to a request for a file of `size` > 0 bytes.

    `etag`: the file's ETag; `wanted` and `if_range`: the headers Range and If-Range. Status 200: send the whole file;
    206: `length` bytes from `start`; 416: nothing. If-Range uses the strong comparison; a date never matches, because
    images have no modification date.
    """
    found = _SINGLE_RANGE.fullmatch(wanted.strip()) if wanted else None
    if not found or found[1] == found[2] == "" or if_range is not None and if_range.strip() != etag:
        return 200, 0, size
    if found[1] == "":  # the last bytes
        length = min(int(found[2]), size)
        return (206, size - length, length) if length else (416, 0, 0)
    start = int(found[1])
    last = int(found[2]) if found[2] else size - 1
    if last < start and found[2]:
        return 200, 0, size  # invalid: the last byte is before the first
    if start >= size:
        return 416, 0, 0
    return 206, start, min(last, size - 1) - start + 1
