"""What a boot means, from what the record says and what the board says. Pure."""


def boot(record, running, boot, state, attempts, is_aborted=True):
    """What this boot means. `running` and `boot` are slot labels, `state` the otadata state of the active record.

    trial      the image runs for the first time (or the board says so: whoever installed it)
    unswapped  the power went between the intent and the swap: nothing has gone back, neither the bootloader nor the trial
    confirmed  it was confirmed, only the record does not know yet
    again      the swap did not last, another attempt is left;  give_up: none is left
    stray      the image runs but is not the one that boots next: never confirm it
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
