"""Devices that check in repeatedly at random, some twice at once, and record every answer of the cloud."""

import asyncio
import json
import random
import time
from collections import Counter

from ioto_tools.fleet.http import Client, request

CONNECTIONS = 16


class Device:
    """A device. `chosen`: the update in progress; `ended`: the finished updates.

    `first_s`: time of the first check-in whose answer may be lost; `unsure`: a check-in got no answer.
    """

    def __init__(self, id, token, version):
        self.id, self.token, self.version = id, token, version
        self.asking, self.first_s, self.unsure = 0, None, False
        self.chosen, self.ended = None, set()


class Storm:
    """The devices of `tokens`, {id: token}.

    After a 503 or no answer, a device waits `again_s` before it asks again. A Storm records the `statuses` of all
    answers, the offers in `got` {(device, update): (asked_s, received_s)}, the accepted `reports` {(device, update,
    attempt, state)}, and `lower_offers` [(device, version, lower version)]: offers of a lower version while the higher
    offer was open.
    """

    def __init__(self, netloc, tokens, version, again_s=0.05, seed=0):
        self.netloc, self.again_s = netloc, again_s
        self.devices = [Device(id, token, version) for id, token in tokens.items()]
        self.draw = random.Random(seed)
        self.statuses, self.got, self.reports, self.lower_offers = Counter(), {}, set(), []
        self.versions = {}  # update -> version
        self.answered = 0

    def run(self, count, every, disturb):
        """Run until `count` check-ins are answered; call disturb() after each `every` answers."""
        asyncio.run(self._run(count, every, disturb))

    async def _run(self, count, every, disturb):
        host, port = self.netloc.split(":")
        self.client = Client(host, int(port), connections=CONNECTIONS)
        self.count, self.every, self.disturb = count, every, disturb
        try:
            await asyncio.gather(*(self._live() for _ in range(CONNECTIONS)))
        finally:
            await self.client.close()

    async def _live(self):
        while self.answered < self.count:
            device = self.draw.choice(self.devices)
            # Sometimes two check-ins at once, as if the device had given up waiting for the answer to the first.
            asked = [self._check_in(device) for _ in range(1 + (self.draw.random() < 0.05))]
            for offer in await asyncio.gather(*asked):
                if offer and offer["update"] not in {device.chosen} | device.ended:
                    device.chosen = offer["update"]
                    await self._work(device, offer)

    async def _post(self, path, token, fields):
        answered = asyncio.get_running_loop().create_future()
        body = json.dumps(fields).encode()
        self.client.ask(request("POST", path, self.netloc, token, body), answered.set_result)
        reply = await answered
        self.statuses[reply.status] += 1
        if reply.status != 200:
            assert reply.status == 0 or reply.status == 503 and reply.header("retry-after"), (reply.status, reply.body)
            await asyncio.sleep(self.again_s)
        return reply

    async def _check_in(self, device):
        """Check in; return the offer, {} if there is none, None if there is no answer."""
        now_s = time.time()
        device.first_s = asked_s = device.first_s or now_s
        device.asking += 1
        open_offer = device.chosen
        reply = await self._post("/tok/provision/update", device.token, {"id": device.id, "version": device.version})
        device.asking -= 1
        offer = json.loads(reply.body) if reply.status == 200 else None
        device.unsure |= offer is None
        if offer:
            self.versions[offer["update"]] = offer["version"]
            self.got.setdefault((device.id, offer["update"]), (asked_s, time.time()))
            if open_offer and open_offer == device.chosen and self.versions[open_offer] > offer["version"]:
                self.lower_offers.append((device.id, self.versions[open_offer], offer["version"]))
        if not device.asking and (offer or not device.unsure):
            device.first_s, device.unsure = None, False
        if offer is not None:
            self.answered += 1
            if self.answered % self.every == 0:
                self.disturb()
        return offer

    async def _work(self, device, offer):
        """Choose what happens to the update on the device; send each report until it is accepted."""
        fate = self.draw.choice(("waits", "begins", "fails", "runs", "confirms", "confirms"))
        states = {
            "begins": ["downloading"],
            "fails": ["downloading", "failed"],
            "confirms": ["staged", "applied", "confirmed"],
        }.get(fate, [])
        if fate in ("runs", "confirms"):
            device.version = offer["version"]
        if fate in ("runs", "confirms", "fails"):
            device.ended.add(device.chosen)
            device.chosen = None
        for state in states:
            fields = {
                "id": device.id,
                "update": offer["update"],
                "success": state != "failed",
                "state": state,
                "attempt": 1,
            }
            while (await self._post("/tok/provision/updateReport", device.token, fields)).status != 200:
                pass
            self.reports.add((device.id, offer["update"], 1, state))
