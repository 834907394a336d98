"""The record as a start finds it: what record.Pair has written, or one that knows nothing yet."""

import json
from binascii import crc32


def empty():
    """A record that knows nothing yet; every key the agent keeps."""
    return {
        "phase": "idle",
        "update": None,  # the offer in work, and slot; skip (bytes in front of the image), image (its SHA-256) and by (key) once known
        "attempt": 0,  # of that update; counts swaps and failed downloads
        "head": "",  # hex of the first 16 bytes of the image, kept out of the slot until the swap
        "offered": 0,  # Unix seconds of the last check-in whose reply offered what is in work, 0 if another did
        "why": "",  # reason with which the trial boot gave up, for the boot after it
        "outages": 0,  # trials in a row that ended for lack of a cloud
        "floor": "",  # highest version ever confirmed
        "slots": {},  # label -> {version, image (SHA-256), build, stated (ioto.json's version then)} installed there
        "failed": [],  # [update, checksum, how it ended, retry, attempt] not to be tried again, but with a higher `retry` (-1: it was dropped)
        "reports": [],  # not yet delivered
        "defer": None,  # Unix seconds before which a staged update is not offered
        "tried": None,  # Unix seconds of the last check-in (schedule.due_s), 0 if there was no clock
        "failures": 0,  # failed check-ins in a row
        "alone": None,  # Unix seconds of the last boot without the application, 0 if there was no clock
        "away": 0,  # seconds that it took
        "tested": False,  # in a trial: the application's self-tests have passed, the check-in is left to such a boot
        "short": 0,  # check-ins and downloads in a row that ended with no_memory
        "hold": 0,  # seconds that the cloud asked us to stay away after it
        "time": 0,  # Unix seconds, last known for sure: both the clock and the cloud have said so
        "id": "",  # made for `"id": "auto"`
    }


def decode(raw):
    """(sequence, data), or None if not whole."""
    try:
        text, crc, end = raw.split(b"\n")
        if not end and int(crc, 16) == crc32(text) & 0xFFFFFFFF:
            seq, data = json.loads(text)
            if isinstance(seq, int) and isinstance(data, dict):
                return seq, data
    except (ValueError, TypeError):
        pass
    return None


def load(pair):
    """The newer whole record, or None."""
    best = None
    seen = 0
    for path in pair.paths:
        try:
            with open(path, "rb") as f:
                raw = f.read()
        except OSError:
            continue
        seen += bool(raw)
        found = decode(raw)
        if found and (best is None or found[0] > best[0]):
            best = found
    if best:
        pair.seq = best[0]
        return best[1]
    pair.damaged = seen > 0
    return None
