"""Check of Wi-Fi as the agent manages it: it comes up, is lost, and recovers by itself."""

import asyncio

import network

from . import Watch, expect
from .link import agent, wanted


async def _run(given):
    changes = []
    wifi = agent("wifi", "Wifi")(given["ssid"], given["password"], lambda on, why: changes.append(on))
    network.WLAN(network.STA_IF).active(False)  # regardless of the state before
    watch = Watch()
    await wifi.up()
    found = {"up_ms": watch.ms(), "rssi_dbm": wifi.wlan.status("rssi")}
    await _told(changes, 1)
    wifi.wlan.disconnect()
    watch = Watch()
    await _told(changes, 2)
    found["lost_after_ms"] = watch.ms()
    await _told(changes, 3)
    found["back_after_ms"] = watch.ms()
    expect("the changes of the link", changes, [True, False, True])
    return found


async def _told(changes, n):
    """Wait for `n` changes, at most 20 s."""
    for _ in range(1000):
        if len(changes) >= n:
            break
        await asyncio.sleep_ms(20)


def check(given):
    wanted(given)
    return asyncio.run(_run(given))


STEPS = ((check, None),)
