"""End waits of a connection that exceed its limit.

Unlike net.py, this module stays loaded: asyncio's queue can refer to a finished task for some time, which would keep
the part with the task's code loaded.
"""

from asyncio import core, sleep_ms
from time import ticks_diff, ticks_ms


async def watch(connection):
    """Task for each net.Connection; runs until it is cancelled."""
    try:
        while True:
            left_ms = ticks_diff(connection.until_ms, ticks_ms())
            if not connection.task:
                left_ms = connection.limit_ms  # no task is waiting: check again after a full limit
            elif left_ms <= 0:
                if connection.task.data is core._io_queue:  # otherwise the task was already woken
                    connection.late = True
                    # Not cancel(): the task could not distinguish that from a cancellation by other code.
                    core._io_queue.remove(connection.task)
                    core._task_queue.push(connection.task)
                left_ms = connection.limit_ms
            await sleep_ms(left_ms)
    finally:
        connection = None
