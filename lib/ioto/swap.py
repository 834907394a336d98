"""The swap: the intent, the head of the image, the boot choice, the reset. Loaded only then."""

from .errors import UpdateError, refusal
from .image import HEAD_BYTES
from .log import log
from .staged import ASK_AGAIN_S
from .update import copied
from .watch import rSignal, rSignalSync

_VALIDATE_FAILED = "-5379"  # ESP_ERR_OTA_VALIDATE_FAILED


def swap(staged):
    """Apply `staged`, which the cloud has confirmed, see Staged.apply()."""
    board, pair, record = staged.agent.board, staged.agent.pair, staged.record
    before = copied(record)
    staged.agent.life.swap()
    try:
        if not board.raw:
            board.stay()
    except OSError as e:
        lost(staged, refusal(e, "boot_refused"))
        return None
    except MemoryError:  # as if it had not been asked for
        record.update(before)
        raise
    if not pair.keep(record):  # the intent, before the act
        record.update(before)
        staged.agreed = False
        staged.postpone(ASK_AGAIN_S)
        rSignal("device:update:failed", UpdateError("record_failed", "not applied"))
        return None
    staged.waiting = False
    try:
        slot = board.slot()
        if not board.raw:
            seal(slot, bytes.fromhex(record["head"]))
        staged.installing = board.install(slot, staged)
    except (UpdateError, OSError) as e:
        lost(staged, refusal(e, "boot_refused"))
    except MemoryError:  # as if it had not been asked for
        record.update(before)
        pair.keep(record)
        staged.waiting = True
        raise
    return staged.installing


def lost(staged, e):
    """The swap, or the script, has failed."""
    log("error", "swap: %s" % e)
    staged.waiting = False
    agent = staged.agent
    if agent.record["phase"] == "trial":
        if _VALIDATE_FAILED in e.detail:  # by set_boot(), of what was verified: the release is to blame
            agent.life.fail(e.reason)
        else:
            agent.life.again(e.reason, "download")
    rSignalSync("device:update:failed", e)
    agent.pair.keep(agent.record)
    agent.wake()


def seal(slot, head):
    """Program the first 16 bytes, which make the image startable, and see that they are there."""
    slot.write(0, head, 0)
    found = bytearray(HEAD_BYTES)
    slot.read(0, found, 0)
    if found != head:
        raise UpdateError("flash_failed", "the head")
