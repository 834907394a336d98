"""Download the record's update into the inactive slot, verify it and stage it."""

from asyncio import sleep_ms

from .download import Download
from .errors import Paused, refusal
from .log import log
from .masks import is_always
from .parts import Part
from .uptime import uptime_s
from .watch import rSignal, watchers


async def run(agent):
    """Run the download. OSError, Paused: it is resumed later; UpdateError: it failed, and the cost is in the record."""
    config, board = agent.config, agent.board
    update = agent.record["update"]
    slot = board.slot()
    with Part():
        if not _is_trusted(agent):
            update.update(skip=None, by=None)  # the download was started with other keys
    await sleep_ms(0)  # between two imports
    # Another attempt at the same update must not resume where the previous one failed.
    name = "%s %s %s" % (slot.label, update["checksum"][:16], update["update"])
    name += " %d %d" % (agent.record["attempt"], update.get("lost", 0))

    def go():
        now = board.time_s()
        if agent.until_s is not None and uptime_s() >= agent.until_s:
            return False
        if now is None or is_always(config["update.schedule"]):
            return True
        from .window import is_open

        return is_open(config["update.schedule"], now, config["timezone"])

    async def examine(block):
        with Part():
            from .examine import run as examined

            agent.see_heap()
            return await examined(agent, block)

    download = Download(agent.client(), update, slot, board, name, config["update.throttle"], examine, go, _progress)
    try:
        verifier = await download.run()
    except (OSError, Paused):
        raise
    except Exception as e:
        from .costs import charge

        e = refusal(e, "unforeseen")
        wait_s = charge(agent.life, e.reason, board.time_s(), config["update.period"], config["update.retry"])
        agent.hold_s = max(agent.hold_s, wait_s)
        raise e
    await agent.load("staged update")  # before the state changes, while a failure does no harm
    agent.life.staged(verifier.head, verifier.build, verifier.size)
    await agent.save()
    from .staged import wait_for_decision

    wait_for_decision(agent)
    log("info", "staged %s" % update["version"])


def _progress(done, size):
    if watchers("device:update:progress"):
        rSignal("device:update:progress", (done, size))


def _is_trusted(agent):
    from .examine import is_trusted

    return is_trusted(agent)
