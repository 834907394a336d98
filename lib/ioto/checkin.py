"""A check-in: ask the cloud, answer what it offers, send the reports, all over one connection. What is to be downloaded is in the
record then.
"""

from . import facts
from .errors import UpdateError
from .log import log
from .offer import judge, offered
from .record import copied
from .update import same
from .uptime import uptime_s
from .watch import rSignal

_ASK_S = 7 * 86400


async def run(agent):
    """True when the record says that there is something to download."""
    cloud = _connected(agent)
    try:
        reply = await _ask(agent, cloud)
        hold_s = agent.hold_s
        try:
            return await _answer(agent, reply)
        finally:
            await _send(agent, cloud)
            agent.hold_s = max(hold_s, agent.hold_s)  # what is said to a report takes nothing back
    finally:
        cloud.client.close()


async def _answer(agent, reply):
    try:
        offer = offered(reply)
    except UpdateError as e:
        if isinstance(reply, dict) and isinstance(reply.get("update"), str):
            agent.life.refuse(reply["update"][:128], e.reason)
        raise
    life, record = agent.life, agent.record
    if life.is_suspect():
        life.judge(True)
        if record["phase"] != "staged":
            agent.withdraw()
    is_same = bool(offer) and same(offer, record["update"])
    _offered(agent, is_same)
    if agent.staged:
        agent.staged.offered_s = agent.offered_s
    if offer and await _take(agent, offer):
        return True
    if not is_same:
        _withdraw(agent)
    return False


def _offered(agent, is_same):
    agent.offered_s = uptime_s() if is_same else None
    agent.record["offered"] = is_same and agent.board.time_s() or 0


def _withdraw(agent):
    """What is staged is not offered any more: this project's cloud has stopped it."""
    if agent.record["phase"] == "staged" and agent.record["update"]["ours"] and not (agent.staged and agent.staged.installing):
        agent.life.drop("withdrawn")
        agent.withdraw()
        rSignal("device:update:failed", UpdateError("withdrawn"))


def _connected(agent):
    """A Cloud that keeps its connection until its client is closed."""
    cloud = agent.cloud()
    cloud.client.keep = True
    return cloud


async def ask(agent):
    """Register where needed, check in; returns the reply. The rest is left to the next run() or deliver()."""
    cloud = _connected(agent)
    try:
        return await _ask(agent, cloud)
    finally:
        cloud.client.close()


async def _ask(agent, cloud):
    # After days without an answer the Builder is asked as well: the api may have moved.
    asked = agent.provision.get("asked")  # when the Builder was, where the api is on another host
    if not agent.registered():
        from .registration import register

        await register(cloud)
        rSignal("device:registered")
    elif not agent.trial and (agent.record["failures"] % 100 == 99 or asked and (agent.board.time_s() or 0) - asked > _ASK_S):
        from .registration import renew

        await renew(cloud)
    reply = await cloud.check_in(facts.of(agent))
    if agent.ntp_set:  # else the cloud alone says so
        agent.record["time"] = max(agent.record["time"], min(agent.board.time_s() or 0, agent.date_s))
    if not agent.connected:
        agent.connected = True
        rSignal("cloud:connected")
    return reply


async def _take(agent, offer):
    """Refuse, or begin: the record says so before the flash is touched."""
    life, record = agent.life, agent.record
    if agent.staged and agent.staged.installing:  # begun while we asked
        return False
    try:
        slot = agent.board.slot()
        floor = life.floor(agent.board.floor())
        if judge(offer, record, life.version(), slot.size, floor, bool(agent.config["update.keys"])) == "keep" and agent.staged:
            return False
        if same(offer, record["update"]) and record["update"].get("after"):
            from .costs import waits

            if waits(record["update"], agent.board.time_s()):
                return False
    except UpdateError as e:  # an answer to the cloud, not a failure of the check-in
        log("warn", str(e))
        if e.reason != "failed_before":
            life.refuse(offer["update"], e.reason, offer["ours"] and e.reason != "no_slots")
            rSignal("device:update:failed", e)
        elif offer["ours"]:
            life.refuse(offer["update"], e.reason, True, e.detail)  # as it ended then
        return False
    before = copied(record)
    life.take(offer, slot.label)
    try:
        await agent.pair.save(record)
    except OSError as e:
        record.update(before)
        life.refuse(offer["update"], "record_failed")
        raise UpdateError("record_failed", repr(e))
    agent.withdraw()
    _offered(agent, True)
    rSignal("device:update:available", offer)
    return True


async def deliver(agent):
    """Send what is queued, without a check-in."""
    cloud = _connected(agent)
    try:
        await _send(agent, cloud)
    finally:
        cloud.client.close()


async def _send(agent, cloud):
    # What the cloud has answered leaves the queue.
    reports = agent.record["reports"]
    if not reports or not agent.registered() or agent.report_s > uptime_s():
        return
    try:
        while reports:
            await cloud.report(reports[0])
            reports.pop(0)
    except (OSError, UpdateError) as e:
        agent.not_delivered(e)
    await agent.save()
