"""Create and run the agent in an application.

from ioto.start import agent, run

async def main():
    await agent().run()

run(main())  # an exception in main() resets the board; one outside of it leaves the board at its prompt
"""

import gc

from .parts import Part, loaded, release

_made = None  # the Agent


def agent(folder="", listener=None):
    """Return the Agent for ioto.json and device.json in `folder` ("" or ending in /).

    `listener(level, message)` receives log messages up to log.level. ConfigError names the file and the error in it.
    """
    global _made
    gc.collect()
    with Part():
        from .prepare import prepare

        prepare(folder)
    from .reserve import hold

    hold()
    from .agent import Agent  # noqa: F401 - loaded before loaded() is called, so it stays

    gc.collect()
    kept = loaded()
    try:
        from .setup import setup

        gc.collect()
        _made = setup(folder, listener)
        return _made
    finally:
        release(kept)


def run(main):
    """asyncio.run() for main.py.

    An exception that ends it is logged and stored in the file `traceback` of the state folder. The board is then reset,
    so that it starts again or enters safe mode. Ctrl-C leads to the prompt; the watchdog's timeout is then a day.
    """
    import asyncio

    try:
        return asyncio.run(main)
    except KeyboardInterrupt:
        try:
            from .otadata import at_prompt

            at_prompt()
        except ImportError:  # Linux
            pass
        raise
    except Exception as e:
        if _made:
            from .reserve import free

            free()  # after a MemoryError, the rest needs this memory
        from .failure import ended

        ended(e, _made)


def safe_mode():
    """Run safe mode; called by boot.py, see without_main.py."""
    from .without_main import for_an_hour

    run(for_an_hour(agent()))


def alone():
    """Do one check-in without the application; called by boot.py, see without_main.py."""
    from .without_main import once

    run(once(agent))
