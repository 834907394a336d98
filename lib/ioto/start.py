"""Where an application gets its agent from.

    from ioto.start import agent, run

    run(agent().run())
"""

import gc

_SAFE_S = 3600
_ALONE_S = 1800
_state = "state"  # folder of the agent's files


def agent(folder="", listener=None):
    """The Agent for ioto.json and device.json in `folder` ("" or ending in /), on whatever this runs on.

    `listener(level, message)` receives what is logged, up to log.level. ConfigError says what is wrong in which file.
    """
    global _state
    gc.collect()
    _radio(folder)
    from .reserve import hold

    hold()
    from .agent import Agent  # noqa: F401  what stays
    from .parts import loaded, release

    kept = loaded()
    try:
        from .setup import setup

        made = setup(folder, listener)
        _state = made.config["state"]
        return made
    finally:
        release(kept)


def _radio(folder):
    """Where ioto.json names a Wi-Fi, its driver gets its 35 KB before the agent takes any; wifi.py tries again."""
    try:
        with open(folder + "ioto.json") as f:
            if '"ssid"' not in f.read():
                return
        from network import STA_IF, WLAN

        WLAN(STA_IF)
    except (ImportError, OSError, RuntimeError, MemoryError):
        pass


def run(main):
    """asyncio.run() for main.py: an exception that ends it is logged, kept in the file `traceback` of the state folder, and the
    board reset, so that it starts again, or comes to its safe mode. Ctrl-C leads to the prompt, where nothing resets it for a day.
    """
    import asyncio

    try:
        return asyncio.run(main)
    except KeyboardInterrupt:
        try:
            from .board import at_prompt

            at_prompt()
        except ImportError:  # Linux
            pass
        raise
    except Exception as e:
        from .failure import ended

        ended(e, _state)


def safe_mode():
    """From boot.py: the agent without the application, for an hour, and then a reset: perhaps it was the power that failed so
    often. What is staged is applied.
    """
    import asyncio

    from .watch import rWatch

    rWatch("device:update", lambda data, staged: staged.apply())
    made = agent()
    made.error = "safe_mode"
    run(_for_an_hour(asyncio, made))


async def _for_an_hour(asyncio, made):
    try:
        await asyncio.wait_for(made.run(), _SAFE_S)
    except asyncio.TimeoutError:
        made.board.reset()


def alone():
    """From boot.py: one check-in, and what it brings, without the application; then a reset. What takes longer than half an hour is
    continued in the next one.
    """
    import asyncio

    made = None
    try:
        made = agent()
        made.alone = True
        made.board.watchdog(2000 * _ALONE_S)  # not fed, but by a trial: nothing keeps the application away for longer
        asyncio.run(made.run_once(_ALONE_S))
        made.keep_away()
    finally:
        if made:
            made.board.reset()
        import machine

        machine.reset()
