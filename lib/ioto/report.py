"""The queue of reports in the record. Pure.

At least once: an entry leaves the queue when the cloud has answered it. The outcome of an update is never dropped;
the steps on the way are, oldest first, when the queue is full.
"""

OUTCOMES = ("confirmed", "failed", "rolled_back", "refused")
STATES = ("downloading", "staged", "deferred", "applied") + OUTCOMES

_MOST = 16


def add(record, update, state, version, reason="", attempt=0):
    """Queue one report; the same (update, attempt, state) is queued once. `version` is what runs now."""
    queue = record["reports"]
    entry = {"update": update, "state": state, "version": version, "attempt": attempt}
    if reason:
        entry["reason"] = reason
    if any(all(e[k] == entry[k] for k in ("update", "state", "attempt")) for e in queue):
        return
    if len(queue) >= _MOST:
        queue.remove(next((e for e in queue if e["state"] not in OUTCOMES), queue[0]))
    queue.append(entry)


def body(entry, device):
    """The entry as it goes over the wire."""
    return dict(entry, id=device, success=entry["state"] not in ("failed", "rolled_back", "refused"))
