"""The first boot of a new image: the application says whether it is well, and the cloud answers.

Watchers of `device:selftest` are the application's tests: one fails by raising, or by returning False.
"""

import asyncio

from .errors import UpdateError
from .log import log
from .watch import watchers


async def selftests(limit_s, arg=None):
    """Run every self-test, each within `limit_s` seconds; UpdateError at the first that fails or is late."""
    for proc, data in watchers("device:selftest"):
        try:
            result = proc(data, arg)
            if hasattr(result, "send"):
                result = await asyncio.wait_for(result, limit_s)
        except asyncio.TimeoutError:
            raise UpdateError("selftest_timeout", "no answer in %d s" % limit_s)
        except Exception as e:
            raise UpdateError("selftest_failed", repr(e))
        if result is False:
            raise UpdateError("selftest_failed", "a self-test said no")
    log("info", "self-tests passed")
