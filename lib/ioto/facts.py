"""The facts that the agent sends in a check-in, in addition to device.json."""

from . import __version__
from .errors import UpdateError
from .schedule import due_s
from .uptime import uptime_s


def _next_s(agent):
    """Seconds until the next check-in if this one succeeds; None if the window never opens, or needs a set clock."""
    config, now_s, up_s = agent.config, agent.board.time_s(), uptime_s()
    return due_s(
        now_s, up_s, up_s, config["update.schedule"], config["timezone"], config["update.period"],
        config["update.jitter"], now_s or 0, 0, 0, agent.device["id"], False,
    )  # fmt: skip


def of(agent):
    board, life = agent.board, agent.life
    found = {
        "product": agent.config["product"],
        "version": life.version(),
        "iotoVersion": __version__,
        "accepts": ["raw", "packed"],
        "attempt": agent.record["attempt"],
        "up": uptime_s(),
    }
    try:
        import deflate  # noqa: F401
    except ImportError:  # the port was built without it
        found["accepts"] = ["raw"]
    error = agent.error or agent.record["phase"] == "download" and agent.record["update"].get("error")
    if error:
        found["error"] = error
    if agent.alone:
        found["alone"] = agent.record["away"]
    if agent.memory:
        found["memory"] = agent.memory
    try:
        found["slotSize"] = board.slot().size
    except UpdateError as e:
        found["error"] = e.reason
    if board.chip is not None:
        found["chip"] = board.chip
    if board.revision() is not None:
        found["revision"] = board.revision()
    if life.image():
        found["image"] = life.image()
    if agent.record["phase"] == "staged":
        found["staged"] = agent.record["update"]["update"]
    wait_s = _next_s(agent)
    if wait_s is not None:
        found["next"] = wait_s
    if agent.trial:
        found["rollback"] = agent.trial == "pending"
    return found
