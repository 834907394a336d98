"""The life of an update as a table: phase -> (next when it went well, next when it failed).

Pure. An illegal move raises and changes nothing.
"""

PHASES = {
    "idle": ("download", "report"),  # an offer is taken, or refused
    "download": ("staged", "report"),  # verified by what was read back, or given up
    "staged": ("trial", "report"),  # swapped, or dropped
    "trial": ("report", "report"),  # confirmed or given up; a further attempt goes back, see RETRY
    "report": ("idle", "idle"),  # the outcome is in the record, its delivery is the queue's business
}
# Another attempt of the same update: back to where its image has to come from.
RETRY = {"trial": ("staged", "download"), "staged": ("download",)}


def move(phase, to):
    """Returns `to` if the table allows it from `phase`; ValueError otherwise."""
    if to not in PHASES.get(phase, ()) and to not in RETRY.get(phase, ()):
        raise ValueError("phase %s cannot become %s" % (phase, to))
    return to
