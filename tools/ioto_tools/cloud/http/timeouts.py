"""Timeouts for waits on clients. Checking all of them periodically costs a twentieth of one timer for each."""

import asyncio

LOOK_S = 1  # interval of the checks; a wait may be longer than its limit by this much


class Waits:
    """The waits of one event loop."""

    def __init__(self) -> None:
        self._until = {}  # task -> deadline
        self._late = set()
        self._looking = None

    async def wait(self, awaitable, seconds):
        """Return the result of `awaitable`. TimeoutError, and `awaitable` is cancelled, after `seconds`."""
        task = asyncio.current_task()
        loop = task.get_loop()
        self._until[task] = loop.time() + seconds
        if self._looking is None:
            self._looking = loop.call_later(LOOK_S, self._look, loop)
        try:
            return await awaitable
        except asyncio.CancelledError:
            if task in self._late and task.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            del self._until[task]
            self._late.discard(task)

    def _look(self, loop) -> None:
        now = loop.time()
        for task in [task for task, until in self._until.items() if until < now and task not in self._late]:
            self._late.add(task)
            task.cancel()
        self._looking = loop.call_later(LOOK_S, self._look, loop) if self._until else None
