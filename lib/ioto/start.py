"""Where an application gets its agent from.

    from ioto.start import agent, run

    async def main():
        await agent().run()

    run(main())  # what ends main() resets the board; what ends main.py outside of it leaves the board at its prompt
"""

import gc
import sys

# For those each import would look in the file system first: some 60 reads, in every part anew.
_BUILT_IN = "binascii errno esp32 gc hashlib io json machine network os socket struct sys time tls"
_state = "state"  # folder of the agent's files


def agent(folder="", listener=None):
    """The Agent for ioto.json and device.json in `folder` ("" or ending in /), on whatever this runs on.

    `listener(level, message)` receives what is logged, up to log.level. ConfigError says what is wrong in which file.
    """
    global _state
    gc.collect()
    for name in _BUILT_IN.split():
        try:
            sys.modules[name] = __import__(name)
        except ImportError:  # the port has none
            pass
    _radio(folder)
    from .reserve import hold

    hold()
    from .agent import Agent  # noqa: F401  what stays
    from .parts import loaded, release

    kept = loaded()
    try:
        from .setup import setup

        gc.collect()
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
