"""The update in the record: download it into the other slot, verify it, stage it."""

import asyncio

from . import release
from .bounds import ENVELOPE_BYTES
from .download import Download
from .errors import Paused, refusal
from .log import log
from .pss import public_keys
from .slot import BLOCK
from .uptime import uptime_s
from .watch import rSignal, watchers
from .window import is_open


async def run(agent):
    """OSError, Paused: it is resumed later; UpdateError: this attempt is lost, and the record says so."""
    buf = memoryview(bytearray(BLOCK))
    life, config, board = agent.life, agent.config, agent.board
    update = agent.record["update"]
    slot = board.slot()
    keys = public_keys(config["update.keys"])
    if not release.trusted(update, keys):
        update.update(skip=None, by=None)  # begun when there were other keys
    # Another attempt at the same update does not begin where the last one was lost.
    name = "%s %s %s %d %d" % (slot.label, update["checksum"][:16], update["update"], agent.record["attempt"], update.get("lost", 0))

    def go():
        now = board.time_s()
        if agent.until_s is not None and uptime_s() >= agent.until_s:
            return False
        return now is None or is_open(config["update.schedule"], now, config["timezone"])

    def progress(done, size):
        if watchers("device:update:progress"):
            rSignal("device:update:progress", (done, size))

    async def examine(found):
        return await _examine(agent, keys, found)

    download = Download(agent.client(), update, slot, board, name, buf, config["update.throttle"], examine, go, progress)
    try:
        writer = await download.run()
    except (OSError, Paused):
        raise
    except Exception as e:
        from .costs import charge

        e = refusal(e, "unforeseen")
        wait_s = charge(life, e.reason, board.time_s(), config["update.period"], config["update.retry"])
        agent.hold_s = max(agent.hold_s, wait_s)
        raise e
    life.staged(writer.head, writer.build, writer.size)
    await agent.save()
    agent.wait_for_decision()
    log("info", "staged %s" % update["version"])


async def _examine(agent, keys, found):
    """What stands in front of the image; keys decide whether it has to be there."""
    life, board, update = agent.life, agent.board, agent.record["update"]
    by = None
    for by in release.verify(found, keys):
        await asyncio.sleep_ms(0)
    said = None
    skip = 0
    image = update["checksum"]
    if found:
        said = release.parse(found[0])
        floor = life.floor(board.floor())
        release.check(said, agent.config["product"], update["version"], life.version(), board.chip, life.image(), board.time_s(), floor)
        skip = ENVELOPE_BYTES
        image = said["sha256"]
    update.update(skip=skip, image=image, by=by)
    await agent.save()
    return said
