"""How far an update has come on a device, from its reports in whatever order they arrived. Pure.

Reports are delivered at least once and may overtake each other, so nothing is kept but the reports themselves: the state
is the furthest one of the last attempt.
"""

# The end of an attempt outranks the steps to it; `failed` follows a last `rolled_back`, `confirmed` can't be taken back.
_RANK = {
    "downloading": 0,
    "staged": 1,
    "deferred": 2,
    "applied": 3,
    "rolled_back": 4,
    "refused": 5,
    "failed": 6,
    "confirmed": 7,
}


def furthest(reports):
    """The report that tells the state: of the highest attempt, the one furthest along. None of no reports."""
    return max(reports, key=lambda report: (report["attempt"], _RANK[report["state"]]), default=None)


def by_update(reports):
    """Reports of one device -> {update: its furthest report}, in order of each update's first report."""
    updates = {}
    for report in sorted(reports, key=lambda report: report["received_s"]):
        updates.setdefault(report["release"], []).append(report)
    return {update: furthest(of) for update, of in updates.items()}


def counts(reports):
    """Reports of one update -> {state: number of devices that stand there}."""
    devices = {}
    for report in reports:
        devices.setdefault(report["device"], []).append(report)
    found = {}
    for of in devices.values():
        state = furthest(of)["state"]
        found[state] = found.get(state, 0) + 1
    return found
