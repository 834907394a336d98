"""Swap to a staged image: save the intent, write the image's head, select the boot partition, reset.

Loaded only when needed.
"""

from .errors import UpdateError, refusal
from .image import HEAD_BYTES
from .log import log
from .parts import Part
from .update import copied
from .watch import rSignal, rSignalSync

_VALIDATE_FAILED = "-5379"  # ESP_ERR_OTA_VALIDATE_FAILED


def swap(staged):
    """Apply `staged`, which has been confirmed by the cloud, see Staged.apply()."""
    board, pair, record = staged.agent.board, staged.agent.store, staged.record
    before = copied(record)
    staged.agent.life.swap()
    try:
        if not board.raw:
            board.stay()
            with Part():
                from .starts import done, intended

                done()
                intended()
    except OSError as e:
        apply_failed(staged, refusal(e, "boot_refused"))
        return None
    except MemoryError:  # as if apply() had not been called
        record.update(before)
        raise
    if not pair.keep(record):  # the intent, saved before the swap
        record.update(before)
        staged.apply_requested = False
        staged.postpone()
        rSignal("device:update:failed", UpdateError("record_failed", "not applied"))
        return None
    staged.waiting = False
    try:
        slot = board.slot()
        if not board.raw:
            seal(slot, bytes.fromhex(record["head"]))
        staged.installing = board.install(slot, staged)
    except (UpdateError, OSError) as e:
        apply_failed(staged, refusal(e, "boot_refused"))
    except MemoryError:  # as if apply() had not been called
        record.update(before)
        pair.keep(record)
        staged.waiting = True
        raise
    return staged.installing


def apply_failed(staged, e):
    """Handle a failed swap or update script."""
    log("error", "swap: %s" % e)
    staged.waiting = False
    agent = staged.agent
    if agent.record["phase"] == "trial":
        if _VALIDATE_FAILED in e.detail:  # set_boot() refused a verified image: the release is faulty
            agent.life.fail(e.reason)
        else:
            agent.life.again(e.reason, "download")
    rSignalSync("device:update:failed", e)
    agent.store.keep(agent.record)
    agent.wake()


def seal(slot, head):
    """Write the first 16 bytes, which make the image bootable, and read them back.

    UpdateError flash_failed if they differ.
    """
    slot.write(0, head, 0)
    found = bytearray(HEAD_BYTES)
    slot.read(0, found, 0)
    if found != head:
        raise UpdateError("flash_failed", "head not written")
