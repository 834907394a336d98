"""Run the agent's HTTP client on the unix port: run_client.py LIB, with cases as JSON on standard input.

Prints one JSON line for each case, in their order. A case is a dict:
    url, method, headers, body (text) or pad (size in bytes), transport ("asyncio", "urequests"), limit_ms, ca (paths,
    PEM or DER), cert and key (paths: the client's own), plain (allow http; default true), unverified, read (size of the
    buffer), most (limit of read_body; without it, the body is read with readinto), stop_ms (when to cancel the task),
    busy_ms (with stop_ms: when, and for how long, another task blocks the loop), names (addresses of name servers),
    names_port, mdns ({name: address} for the port's getaddrinfo), keep (reuse the connection), times (repeat the
    request with one client), pause_ms (between the requests), ntp (port: request the time from host `url` instead)

The result: status, headers, length, body (hex; incomplete if it is long), sha256, reads (bytes of each readinto),
time, error ([class, reason or errno, text]) of the last request, failures (number of earlier errors), held_ms (longest
pause of another task).
"""

import asyncio
import hashlib
import json
import socket
import sys
import time

sys.path.insert(0, sys.argv[1])
from ioto import clock, dns, http, net
from ioto.errors import UpdateError
from ioto.resolver import Resolver

held_ms = 0


async def ticker():
    global held_ms
    last = time.ticks_ms()
    while True:
        await asyncio.sleep_ms(5)
        now = time.ticks_ms()
        held_ms = max(held_ms, time.ticks_diff(now, last) - 5)
        last = now


def client(case):
    limit_ms = case.get("limit_ms", 1000)
    if case.get("transport") == "urequests":
        from ioto.blocking import Client

        return Client(limit_ms, case.get("unverified", False), case.get("plain", True))
    context = None
    if "ca" in case:
        from ioto import certs

        context = certs.context(case["ca"].split())
        if "cert" in case:
            from ioto import pss

            context.load_cert_chain(*[pss.der(open(case[name], "rb").read()) for name in ("cert", "key")])
    return http.Client(resolver(case), context, limit_ms, case.get("plain", True))


class Socket:
    """The module socket of a port whose getaddrinfo knows additional names."""

    def __init__(self, known):
        self.known = known

    def __getattr__(self, name):
        return getattr(socket, name)

    def getaddrinfo(self, host, *rest):
        return socket.getaddrinfo(self.known.get(host, host), *rest)


def resolver(case):
    net.socket = Socket(case["mdns"]) if "mdns" in case else socket
    if "names" in case:
        return Resolver(lambda: case["names"], None, case["names_port"])
    return Resolver()


async def ask_time(case, result):
    result["time"] = await clock.ntp_s(resolver(case), case["url"], case.get("limit_ms", 1000), case["ntp"])


async def fetch(case, result, sender):
    body = bytes(case["pad"]) if "pad" in case else case["body"].encode() if "body" in case else None
    reply = await sender.request(case.get("method", "GET"), case["url"], case.get("headers"), body)
    try:
        result["status"] = reply.status
        result["headers"] = reply.headers
        result["length"] = reply.length
        if "most" in case:
            result["body"] = (await http.read_body(reply, case["most"])).hex()
            return
        buf = memoryview(bytearray(case.get("read", 4096)))
        got = []
        seen = hashlib.sha256()
        result["reads"] = []
        while True:
            n = await reply.readinto(buf)
            result["reads"].append(n)
            if not n:
                break
            seen.update(buf[:n])
            if len(result["reads"]) < 100 or n < 100:
                got.append(bytes(buf[:n]).hex())
        result["body"] = "".join(got)
        result["sha256"] = seen.digest().hex()
    finally:
        await reply.close()


async def busy(at_ms, for_ms):
    await asyncio.sleep_ms(at_ms)
    time.sleep_ms(for_ms)


async def once(doing, case, result):
    result.pop("error", None)
    task = asyncio.create_task(doing)
    try:
        if "stop_ms" in case:
            if "busy_ms" in case:
                asyncio.create_task(busy(*case["busy_ms"]))
            await asyncio.sleep_ms(case["stop_ms"])
            task.cancel()
        await task
    except asyncio.CancelledError:
        result["error"] = ["CancelledError", None, ""]
    except UpdateError as e:
        result["error"] = ["UpdateError", e.reason, str(e)]
    except (OSError, ValueError) as e:
        result["error"] = [type(e).__name__, getattr(e, "errno", None), str(e)]


async def run(case):
    global held_ms
    result = {"failures": 0}
    held_ms = 0
    if "ntp" in case:
        await once(ask_time(case, result), case, result)
    else:
        sender = client(case)
        sender.keep = case.get("keep", False)
        for _ in range(case.get("times", 1)):
            result["failures"] += "error" in result
            await once(fetch(case, result, sender), case, result)
            await asyncio.sleep_ms(case.get("pause_ms", 0))
        if "keep" in case:
            sender.close()
    result["held_ms"] = held_ms
    return result


async def main():
    watch = asyncio.create_task(ticker())
    dns.ASK_MS = (200, 200)
    for case in json.loads(sys.stdin.read()):
        print(json.dumps(await run(case)))
    watch.cancel()
    # No task and no socket in the poller is left.
    await asyncio.sleep_ms(0)
    assert not asyncio.core._io_queue.map, asyncio.core._io_queue.map
    assert not asyncio.core._task_queue.peek()


asyncio.run(main())
