"""Ends the waits of a connection that take too long.

Resident, though connections are not: the queue of asyncio can refer to a task that is done for a while, and would keep the part.
"""

from asyncio import core, sleep_ms
from time import ticks_diff, ticks_ms


async def watch(connection):
    """A task beside each net.Connection, until it is cancelled."""
    try:
        while True:
            left_ms = ticks_diff(connection.until_ms, ticks_ms())
            if not connection.task:
                left_ms = connection.limit_ms  # what begins later ends later
            elif left_ms <= 0:
                if connection.task.data is core._io_queue:  # else it has been woken already
                    connection.late = True
                    # Not cancel(): nobody could tell that from somebody else's.
                    core._io_queue.remove(connection.task)
                    core._task_queue.push(connection.task)
                left_ms = connection.limit_ms
            await sleep_ms(left_ms)
    finally:
        connection = None
