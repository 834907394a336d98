"""Parse the offer in the cloud's reply and judge it for this board. Pure.

offered(): the reply -> the offer, None, or a refusal
about(): the reply -> what it says about the release
judge(): offer + record -> download | keep, or a refusal
"""

from .bounds import ENVELOPE_BYTES, check_size
from .errors import UpdateError
from .http_parse import parse_url
from .semver import compare, is_valid, not_below
from .update import same


def offered(reply):
    """Return the offer in the cloud's reply, or None if nothing is offered.

    An offer is {update, version, url, checksum, size (None if not given), ours, retry}. `ours` is true for an offer of
    this project's cloud, which expects a report of every state; other clouds expect only the outcome.
    """
    if not isinstance(reply, dict):
        raise UpdateError("reply_malformed", "not an object")
    url = reply.get("url")
    if url is None:
        return None
    parse_url(url)
    size = reply.get("size")
    retry = reply.get("retry")
    found = {"url": url, "size": size, "ours": size is not None, "retry": retry if type(retry) is int else 0}
    for key, most in (("update", 128), ("checksum", 64), ("version", 256)):
        text = reply.get(key)
        if isinstance(text, str) and key == "checksum":
            text = text.lower()
            most = 64 if len(text) == 64 and not text.strip("0123456789abcdef") else 0
        if not isinstance(text, str) or not 0 < len(text) <= most or key == "version" and not is_valid(text):
            reasons = {"update": "update_invalid", "checksum": "checksum_invalid", "version": "version_invalid"}
            raise UpdateError(reasons[key], str(text)[:80])
        found[key] = text
    if size is not None and type(size) is not int:
        raise UpdateError("reply_malformed", "size %s" % str(size)[:20])
    return found


def about(reply):
    """What the reply says about the release: {kind, notes, advisory, no_defer_after}, without what it does not say."""
    found = {}
    for key, most in (("kind", 16), ("notes", 500), ("advisory", 200)):
        text = reply.get(key)
        if isinstance(text, str) and text:
            found[key] = text[:most]
    if type(reply.get("noDeferAfter")) is int:
        found["no_defer_after"] = reply["noDeferAfter"]
    return found


def judge(offer, record, version, slot_bytes, floor="", signed=False):
    """Return `download`, or `keep` if the offered update is already staged; UpdateError if this board refuses it.

    `version` is the running one, `floor` the highest ever confirmed. With `signed`, the file's manifest decides later
    whether a downgrade is allowed. The file may be larger than the slot by the size of an envelope.
    """
    for failed in record["failed"]:
        if failed[:2] == [offer["update"], offer["checksum"]] and offer["retry"] <= (
            failed[3] if len(failed) > 3 else 0
        ):
            raise UpdateError("failed_before", failed[2])
    if not signed or compare(offer["version"], version) == 0:
        not_below(offer["version"], version, floor)
    if offer["size"] is not None:
        check_size(offer["size"], slot_bytes + ENVELOPE_BYTES)
    return "keep" if same(offer, record["update"]) and record["phase"] == "staged" else "download"
