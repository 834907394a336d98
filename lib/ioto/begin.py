"""Determine what kind of boot this is and act on it, before the first round of the loop."""

from . import plan
from .errors import UpdateError, refusal
from .log import log
from .parts import Part
from .reserve import free
from .update import PHASES
from .watch import rSignal


async def run(agent):
    board, life, record, pair = agent.board, agent.life, agent.record, agent.store
    found = pair.load()
    if found:
        record.update(found)
    if pair.damaged or record["phase"] not in PHASES:  # an unknown phase was written by another version
        log("error", "record_damaged")
        agent.error = "record_damaged"
        record.update(phase="idle", update=None)
    state = board.state()
    what = plan.boot(record, board.running, board.boot(), state, life.attempts(), board.is_aborted())
    if not board.raw:
        _keep_diary(agent, what)
    log("info", "boot is %s: %s %s, otadata %s" % (what, board.running, life.version(), state))
    if what == "trial":
        agent.trial = state or "none"
        agent.guard()
    elif what == "unswapped":
        life.not_swapped()
        await agent.save()
    elif what in ("again", "give_up"):
        reason = record["why"] or "rolled_back"
        if state == "pending" and board.boot() == board.running:  # the agent itself rolled back, see trial.py
            board.confirm()
            agent.guard()
        if reason == "trial_timeout":
            life.suspend()
        else:
            life.again(reason)
        rSignal("device:rollback", UpdateError(reason))
        await agent.save()
    elif what == "confirmed":
        life.confirmed()
        await agent.save()
    installed = record["slots"].get(board.running)
    if record["phase"] != "trial" and installed and installed["version"] != life.version():
        log("warn", "using version %s of ioto.json instead of %s" % (life.version(), installed["version"]))
    if record["phase"] == "staged":
        await _restage(agent, agent.pause_s() if record["outages"] or what in ("again", "give_up") else 0)
    wait_s = agent.due_s()
    if 0 < wait_s < 86400:  # without this line, the board would seem to hang after power-on
        log("info", "next check-in in %d s" % wait_s)
    rSignal("app:ready")


def _keep_diary(agent, what):
    """Begin, store or end the diary of a trial. Whatever happens here, the update's outcome does not depend on it."""
    try:
        with Part():
            if what == "trial":
                from .diary import start

                start(bool(agent.record["why"]))
            elif what in ("again", "give_up"):
                from .details import keep

                keep(agent)
            elif what == "confirmed":
                from .diary import stop

                stop()
    except Exception as e:
        log("warn", "diary: %r" % e)


async def _restage(agent, wait_s):
    try:
        await _reread(agent)
        from .staged import wait_for_decision

        wait_for_decision(agent, wait_s)
    except Exception as e:  # a flash error, or a record written by another version
        if isinstance(e, MemoryError) and free():
            raise  # the next round retries with the memory that was just freed
        log("error", "staged: %r" % e)
        e = refusal(e, "flash_failed")
        if e.reason == "unsigned":
            agent.life.fail(e.reason, "refused")
            rSignal("device:update:failed", e)
        else:
            agent.life.again(e.reason, "download")
        await agent.save()


async def _reread(agent):
    """UpdateError unless the slot still contains the staged image and its signing key is still one of update.keys."""
    from .examine import is_trusted
    from .slot import BLOCK, ImageVerifier

    record, board = agent.record, agent.board
    update = record["update"]
    if not is_trusted(agent):
        raise UpdateError("unsigned", "other keys")
    slot = board.slot()
    size = update.get("bytes", 0)
    verifier = ImageVerifier(slot, size, board.chip, board.raw)
    await verifier.reread(-(-size // BLOCK), bytes.fromhex(record["head"]), memoryview(bytearray(BLOCK)))
    if slot.label != update["slot"] or verifier.digest() != update.get("image"):
        raise UpdateError("checksum_mismatch", "slot changed")
