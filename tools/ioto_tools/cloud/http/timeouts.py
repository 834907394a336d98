"""A limit on waits for clients. A look at all of them now and then costs a twentieth of a timer for each."""

import asyncio

LOOK_S = 1  # by so much a wait may be longer than it should


class Waits:
    """The waits of one event loop."""

    def __init__(self):
        self._until = {}  # task -> when its wait has to be over
        self._late = set()
        self._looking = None

    async def wait(self, awaitable, seconds):
        """What `awaitable` gives. TimeoutError, and it is cancelled, if that takes longer than `seconds`."""
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

    def _look(self, loop):
        now = loop.time()
        for task in [task for task, until in self._until.items() if until < now and task not in self._late]:
            self._late.add(task)
            task.cancel()
        self._looking = loop.call_later(LOOK_S, self._look, loop) if self._until else None
