"""Where an application gets its agent from.

    from ioto.start import agent, run

    async def main():
        await agent().run()

    run(main())  # what ends main() resets the board; what ends main.py outside of it leaves the board at its prompt
"""

import gc

from .parts import Part, loaded, release

_state = "state"  # folder of the agent's files


def agent(folder="", listener=None):
    """The Agent for ioto.json and device.json in `folder` ("" or ending in /), on whatever this runs on.

    `listener(level, message)` receives what is logged, up to log.level. ConfigError says what is wrong in which file.
    """
    global _state
    gc.collect()
    with Part():
        from .prepare import prepare

        prepare(folder)
    from .reserve import hold

    hold()
    from .agent import Agent  # noqa: F401  what stays

    gc.collect()
    kept = loaded()
    try:
        from .setup import setup

        gc.collect()
        made = setup(folder, listener)
        _state = made.config["state"]
        return made
    finally:
        release(kept)


def run(main):
    """asyncio.run() for main.py: an exception that ends it is logged, kept in the file `traceback` of the state folder, and the
    board reset, so that it starts again, or comes to its safe mode. Ctrl-C leads to the prompt, where nothing resets it for a day.
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
        from .failure import ended

        ended(e, _state)


def safe_mode():
    """From boot.py, see without_main.py."""
    from .without_main import for_an_hour

    for_an_hour()


def alone():
    """From boot.py, see without_main.py."""
    from .without_main import once

    run(once())
