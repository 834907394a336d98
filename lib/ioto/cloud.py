"""The device's side of the wire: check in, report (docs/protocol.md); registration.py is what comes before.

The transport is handed in. OSError: no answer, or the cloud does not know this device any more, which has been forgotten
then and registers again; UpdateError: an answer that will not do. `hold_s` is how long the cloud asked us to stay away in
its last answer, 0 if it did not.
"""

import json
import os

from .errors import UpdateError
from .http import read_body
from .http_parse import http_date, retry_after
from .log import log
from .update import body

_REPLY_BYTES = 4096  # more than any reply has
_TOKEN_LENGTH = 206
_HOLD_MOST_S = 604800
_FORGET = ("Authentication failed", "Cannot find device")
_ANSWERED = (400, 404, 410, 413, 422)  # a report refused with these is not worth repeating


class Cloud:
    """`config` as of config.load(), `device` the properties of device.json with `id` made."""

    def __init__(self, client, config, device, time_s):
        self.client = client
        self.config = config
        self.device = device
        self.time_s = time_s
        self.path = config["state"] + "/provision.json"
        self.hold_s = 0
        self.date_s = 0  # of its last answer, where TLS has verified who says so
        self.unsigned = False  # no keys: who owns the network or the cloud owns this device, and it says so each time
        self.provision = self._load()

    def _load(self):
        try:
            with open(self.path) as f:
                found = json.load(f)
            return found if isinstance(found, dict) else {}
        except (OSError, ValueError):
            return {}

    def api(self):
        return (self.config["api"] or self.provision.get("api") or "").rstrip("/")

    def registered(self):
        return self.api() and self._token()

    def _token(self):
        return self.config["token"] or self.provision.get("token") or ""

    def forget(self):
        """The next step is to register again; a token that stands in the configuration stays."""
        self._keep({"id": self.device["id"]})

    def _keep(self, provision):
        # Written beside and renamed, so that a cut leaves the old file or the new one. Without it (False) we live on until
        # the next reset, and register again after it.
        self.provision = provision
        try:
            with open(self.path + ".new", "w") as f:
                json.dump(provision, f)
            try:
                os.rename(self.path + ".new", self.path)
            except OSError:  # FAT does not rename over a file
                os.remove(self.path)
                os.rename(self.path + ".new", self.path)
        except OSError as e:
            log("error", "%s: %r" % (self.path, e))
            return False
        return True

    async def date(self):
        """Unix seconds by the cloud's clock, whatever else it answers; 0 where it does not say."""
        reply = await self.client.request("HEAD", (self.api() or self.config["builder"]) + "/tok/provision/update")
        await reply.close()
        return _date(reply)

    async def check_in(self, facts):
        """Send device.json's properties and `facts`; returns the reply, an object or whatever JSON it was.

        A `token` in it takes the place of ours from the next request on, if it could be kept: until then the old one is good.
        """
        reply = await self._post(self.api() + "/tok/provision/update", self._token(), dict(self.device, **facts))
        token = reply.get("token") if isinstance(reply, dict) else None
        if is_token(token):
            before = self.provision
            if not self._keep(dict(before, token=token)):
                self.provision = before
        return reply

    async def report(self, entry):
        """Deliver one entry of the report queue: the cloud has taken it, or never will."""
        await self._post(self.api() + "/tok/provision/updateReport", self._token(), body(entry, self.device["id"]), True)

    async def _post(self, url, token, data, is_report=False):
        if self.unsigned:
            data["unsigned"] = True
        headers = {"Authorization": "bearer " + token, "Content-Type": "application/json"}
        reply = await self.client.request("POST", url, headers, json.dumps(data).encode())
        try:
            raw = await read_body(reply, _REPLY_BYTES)
        finally:
            await reply.close()
        if url[4] == "s" and self.config["tls.verify"]:
            self.date_s = _date(reply)
        self.hold_s = retry_after(reply.headers.get("retry-after", ""), self.time_s()) or 0
        try:
            found = json.loads(raw) if raw else {}
        except ValueError:
            found = None
        said = found if isinstance(found, dict) else {"error": repr(raw)[2:-1]}  # decode() may stumble over it
        if isinstance(said.get("delay"), int):
            self.hold_s = max(self.hold_s, said["delay"])
        self.hold_s = min(self.hold_s, _HOLD_MOST_S)
        if reply.status not in (200, 204):
            self._refused(reply.status, str(said.get("error", ""))[:60], is_report)
        elif found is None and not is_report:
            raise UpdateError("reply_malformed", raw[:40])
        return found

    def _refused(self, status, text, is_report):
        for each in _FORGET:
            if text.startswith(each):
                self.forget()
                raise OSError(text + ": registering again")
        text = "%d %s" % (status, text)
        if not is_report or status not in _ANSWERED:
            raise UpdateError("http_status", text)
        log("warn", "report refused: " + text)


def _date(reply):
    return http_date(reply.headers.get("date", "")) or 0


def is_token(token):
    """Could it be one? It goes into a header."""
    return isinstance(token, str) and 0 < len(token) <= _TOKEN_LENGTH and min(token) > " " and max(token) < "\x7f"
