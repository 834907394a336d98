"""Advances releases to their next stages, when a device checks in or reports: the cloud has no timer for this."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..rollout import stage_gates
from .worker_cache import WorkerCache

if TYPE_CHECKING:
    from ..site.site import Site


async def advance_stages(site: "Site", memory: WorkerCache, run: Callable[..., Awaitable[Any]]) -> None:
    """Check the gates that are due, and pass the open ones. If none is due, the database is not accessed."""
    now_s = site.now_s()
    for release in memory.stages_to_judge(now_s):
        verdict = await run(site.database.read, stage_gates.judge_by_id, release, now_s)
        if verdict is not None and (verdict.ahead or not verdict.waits):
            await run(site.database.write, stage_gates.pass_gate, release, verdict, now_s)
            memory.invalidate()
            await memory.refresh(partial(run, site.database.read))
