"""Determine what kind of boot this is, from the record and the state of the board. Pure."""


def boot(record, running, boot, state, attempts, is_aborted=True):
    """Return the kind of this boot.

    `running` and `boot` are slot labels, `state` is the otadata state of the active record.

    trial      the first boot of the image, or of any image that is `pending` in otadata
    unswapped  power failed after the intent was saved and before the swap: nothing was rolled back
    confirmed  the image was confirmed, but this is not in the record yet
    again      the update was rolled back, another attempt is left;  give_up: none is left
    stray      the image runs, but another one boots next: never confirm it
    otherwise the record's phase: staged, download or idle
    """
    phase = record["phase"]
    update = record["update"]
    if phase == "trial":
        if running != update["slot"] and not is_aborted and not record["why"]:
            return "unswapped"
        if running != update["slot"] or update.get("script"):
            return "again" if record["attempt"] < attempts else "give_up"
        if running != boot:
            return "stray"
        return "confirmed" if state == "valid" else "trial"
    if state == "pending" and running == boot:
        return "trial"
    return phase if phase in ("staged", "download") else "idle"
