"""Where an application gets its agent from.

    from ioto.start import agent

    asyncio.run(agent().run())
"""

import gc

_SAFE_S = 3600


def agent(folder="", listener=None):
    """The Agent for ioto.json and device.json in `folder` ("" or ending in /), on whatever this runs on.

    `listener(level, message)` receives what is logged, up to log.level. ConfigError says what is wrong in which file.
    """
    gc.collect()
    from .parts import loaded, release  # what stays

    kept = loaded()
    try:
        from .setup import setup

        return setup(folder, listener)
    finally:
        release(kept)


def safe_mode():
    """From boot.py: the agent without the application, for an hour, and then a reset: perhaps it was the power that failed so
    often. What is staged is applied.
    """
    import asyncio

    from .watch import rWatch

    rWatch("device:update", lambda data, staged: staged.apply())
    made = agent()
    made.error = "safe_mode"
    try:
        asyncio.run(asyncio.wait_for(made.run(), _SAFE_S))
    except asyncio.TimeoutError:
        made.board.reset()
