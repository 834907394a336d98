"""Process the reply to a check-in. The record then contains the update to download, if there is one."""

from .errors import UpdateError
from .log import log
from .offer import about, judge, offered
from .update import copied, same
from .uptime import uptime_s
from .watch import rSignal


async def run(agent, reply):
    """Process the reply; True if the record then contains an update to download."""
    try:
        offer = offered(reply)
    except UpdateError as e:
        if isinstance(reply, dict) and isinstance(reply.get("update"), str):
            agent.life.refuse(reply["update"][:128], e.reason)
        raise
    life, record = agent.life, agent.record
    if agent.is_suspect():
        life.judge()
        if record["phase"] != "staged":
            _discard(agent)
    is_same = bool(offer) and same(offer, record["update"])
    _offered(agent, is_same)
    agent.about = about(reply) if offer else {}
    if agent.staged:
        agent.staged.about = agent.about
        agent.staged.offered_s = agent.offered_s
    if offer and await _take(agent, offer):
        return True
    if not is_same:
        _withdraw(agent)
    return False


def _offered(agent, is_same):
    agent.offered_s = uptime_s() if is_same else None
    agent.record["offered"] = is_same and agent.board.time_s() or 0


def _discard(agent):
    """Discard `agent.staged`: no more `device:update` signals for it."""
    if agent.staged:
        agent.staged.waiting = False
        agent.staged = None


def _withdraw(agent):
    """Drop a staged update that this project's cloud no longer offers."""
    if (
        agent.record["phase"] == "staged"
        and agent.record["update"]["ours"]
        and not (agent.staged and agent.staged.installing)
    ):
        agent.life.drop("withdrawn")
        _discard(agent)
        rSignal("device:update:failed", UpdateError("withdrawn"))


async def _take(agent, offer):
    """Refuse the offer, or start its update and save the record before the flash is touched; True: download it."""
    life, record = agent.life, agent.record
    if agent.staged and agent.staged.installing:  # the script was started during the check-in
        return False
    try:
        slot = agent.board.slot()
        floor = life.floor(agent.board.floor())
        if (
            judge(offer, record, life.version(), slot.size, floor, bool(agent.config["update.keys"])) == "keep"
            and agent.staged
        ):
            return False
        if same(offer, record["update"]) and record["update"].get("after"):
            from .costs import waits

            if waits(record["update"], agent.board.time_s()):
                return False
    except UpdateError as e:  # a refusal that is reported, not a failure of the check-in
        log("warn", str(e))
        if e.reason != "failed_before":
            life.refuse(offer["update"], e.reason, offer["ours"] and e.reason != "no_slots")
            rSignal("device:update:failed", e)
        elif offer["ours"]:
            life.refuse(offer["update"], e.reason, True, e.detail)  # the earlier outcome is reported
        return False
    before = copied(record)
    life.take(offer, slot.label)
    try:
        await agent.store.save(record)
    except OSError as e:
        record.update(before)
        life.refuse(offer["update"], "record_failed")
        raise UpdateError("record_failed", repr(e))
    _discard(agent)
    _offered(agent, True)
    rSignal("device:update:available", dict(offer, **agent.about))
    return True
