"""A check-in over one connection: ask the cloud, process its offer and send the reports.

The record then contains the update to download, if there is one.
"""

from asyncio import sleep_ms

from .cloud import Cloud
from .errors import UpdateError
from .log import log
from .parts import Part
from .uptime import uptime_s
from .watch import rSignal

_ASK_S = 7 * 86400


async def run(agent):
    """Run a check-in; True if the record contains an update to download."""
    cloud = _connected(agent)
    try:
        reply = await _ask(agent, cloud)
        hold_s = agent.hold_s
        try:
            with Part():
                await agent.load("bounds semver update")
                from .answer import run as answer

                return await answer(agent, reply)
        finally:
            await _send(agent, cloud)
            agent.hold_s = max(hold_s, agent.hold_s)  # the replies to reports must not shorten the wait
    finally:
        cloud.client.close()


def _connected(agent):
    """Return a Cloud that keeps its connection until its client is closed."""
    cloud = Cloud(agent, agent.client())
    cloud.client.keep = True
    return cloud


async def ask(agent):
    """Register if needed, check in and return the reply, without processing it or sending reports."""
    cloud = _connected(agent)
    try:
        return await _ask(agent, cloud)
    finally:
        cloud.client.close()


async def _ask(agent, cloud):
    # The api may have moved. The Builder is asked again after days without a reply, and weekly if the api is on a host
    # other than the Builder's.
    asked = agent.provision.get("asked")  # when the Builder was last asked; set only in the second case
    if not agent.registered():
        from .registration import register

        await register(cloud)
        rSignal("device:registered")
    elif not agent.trial and (
        agent.record["failures"] % 100 == 99 or asked and (agent.board.time_s() or 0) - asked > _ASK_S
    ):
        from .registration import renew

        await renew(cloud)
    await sleep_ms(0)  # between two imports
    facts = await _facts(agent)
    await sleep_ms(0)
    reply = await cloud.check_in(facts)
    if agent.connected is None and not agent.board.raw:
        with Part():
            from .starts import answered

            answered()
    if agent.ntp_set:  # otherwise the time came only from the cloud
        agent.record["time"] = max(agent.record["time"], min(agent.board.time_s() or 0, agent.date_s))
    if not agent.connected:
        agent.connected = True
        rSignal("cloud:connected")
    return reply


async def _facts(agent):
    with Part():
        from .facts import of

        found = of(agent)
    await sleep_ms(0)
    with Part():
        from .health import of as health

        found["health"] = health(agent)
    if agent.connected is None and not agent.board.raw:  # until this start's first check-in is answered
        await sleep_ms(0)
        failure = _failure(agent)
        if failure:
            found["failure"] = failure
    return found


def _failure(agent):
    try:
        with Part():
            from .starts import ended

            if ended():
                from .details import of as details

                return details(agent)
    except Exception as e:  # a check-in without it is better than none
        log("warn", "failure: %r" % e)


async def deliver(agent):
    """Send the queued reports without a check-in."""
    cloud = _connected(agent)
    try:
        await _send(agent, cloud)
    finally:
        cloud.client.close()


async def _send(agent, cloud):
    # A report leaves the queue when the cloud has answered it.
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
