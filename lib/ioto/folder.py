"""Replace the agent's folder before littlefs has to compact it.

littlefs keeps a log for each folder, with an entry for each change of a file. After some 58 saves the log is full and
is compacted in one operation, with thousands of small reads that block everything else for 0.1 s or more. A new folder
has an empty log, so the files are moved to a new folder.
"""

import asyncio
import os

from .log import log


async def run(agent):
    try:
        for _ in steps(agent.config["state"]):
            await asyncio.sleep_ms(0)
    except OSError as e:  # no space: the folder stays as it is
        log("warn", "folder: %r" % e)


def steps(path):
    """A generator that moves the files and yields after each.

    If a reset interrupts the replacement, the next start finishes it. `path` exists at each yield. A file that is
    written to `path` during a yield is moved later; it then replaces the old version, which was moved before.
    """
    new = path + ".new"
    try:
        os.stat(new)  # already started?
    except OSError:
        os.mkdir(new)
    yield
    while True:
        names = os.listdir(path)
        for name in names:
            os.rename(path + "/" + name, new + "/" + name)
            yield
        if not names:
            break
    os.rmdir(path)
    os.rename(new, path)
