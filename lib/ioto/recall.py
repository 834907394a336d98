"""Load the record written by record.Pair, or create an empty one."""

import json
from binascii import crc32


def empty():
    """Return an empty record, with every key that the agent uses."""
    return {
        "phase": "idle",
        # the current offer, and its slot; once known, skip (bytes before the image), image (its SHA-256) and by (key)
        "update": None,
        "attempt": 0,  # number of the attempt at the update; counts swaps and failed downloads
        "head": "",  # hex of the first 16 bytes of the image, not written to the slot until the swap
        "offered": 0,  # Unix seconds of the last check-in if its reply offered the current update, else 0
        "why": "",  # reason why the trial failed, for the next boot
        "outages": 0,  # trials in a row that ended because of an outage
        "floor": "",  # highest version ever confirmed
        "slots": {},  # label -> {version, image (SHA-256), build, stated (ioto.json's version then)} installed there
        # [update, checksum, outcome, retry, attempt]; tried again only with a higher `retry` (-1: it was dropped)
        "failed": [],
        "reports": [],  # not yet delivered
        "defer": None,  # Unix seconds before which `device:update` is not signalled
        "tried": None,  # Unix seconds of the last check-in (schedule.due_s), 0 if there was no clock
        "failures": 0,  # failed check-ins in a row
        "alone": None,  # Unix seconds of the last boot without the application, 0 if there was no clock
        "away": 0,  # seconds that this boot took
        "tested": False,  # in a trial: the self-tests have passed; a boot without the application does the check-in
        "short": 0,  # check-ins and downloads in a row that ended with no_memory
        "hold": 0,  # seconds to wait after the last check-in, as asked by the cloud
        "time": 0,  # Unix seconds of the last time that both the clock and the cloud confirmed
        "id": "",  # generated for `"id": "auto"`
    }


def decode(raw):
    """(sequence, data), or None if invalid."""
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
    """Return the newer valid record, or None."""
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
