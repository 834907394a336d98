"""Run the Wi-Fi link on the unix port: run_wifi.py LIB RADIO, {"script", "up_ms", "run_ms"} on standard input.

Prints {"events", "calls", "up": null or the error, "before", "servers up", "servers"}; the last three are the name
servers before up(), after it, and at the end.
"""

import asyncio
import json
import sys

sys.path[0:0] = sys.argv[1:3]
import network
from ioto import wifi

wifi.PAUSES_MS = (20, 40)
wifi.JOIN_MS = 300
wifi.LOOK_MS = 10


async def main():
    case = json.loads(sys.stdin.read())
    network.script.extend(case["script"])
    events = []

    def changed(connected, why):
        events.append([connected, why])
        if case["raises"] and len(events) == 1:
            raise MemoryError

    link = wifi.Wifi("home", "secret", changed, case["up_ms"])
    result = {"events": events, "calls": network.calls, "up": None, "before": link.servers()}
    try:
        await link.up()
    except OSError as e:
        result["up"] = [e.errno, str(e)]
    result["servers up"] = link.servers()
    await asyncio.sleep_ms(case["run_ms"])
    result["servers"] = link.servers()
    if case["raises"]:
        await link.up()
    link.task.cancel()
    print(json.dumps(result))


asyncio.run(main())
