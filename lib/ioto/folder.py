"""The agent's folder, made anew before the file system has to tidy up.

littlefs keeps a log of each folder: a change of a file is an entry. After some 58 saves it is full and is compacted in one go, with
thousands of small reads, in which nothing else runs for 0.1 s and more. A new folder has an empty log, so the files move into one.
"""

import asyncio
import os

from .log import log


async def run(agent):
    try:
        for _ in steps(agent.config["state"]):
            await asyncio.sleep_ms(0)
    except OSError as e:  # no room: it stays as it is
        log("warn", "folder: %r" % e)


def steps(path):
    """A generator with a turn after each move. What a reset leaves half done the next start finishes.

    Between two turns `path` is there, and a file that is written anew in it replaces the one that has moved.
    """
    new = path + ".new"
    try:
        os.stat(new)  # begun before?
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
