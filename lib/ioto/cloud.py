"""The device's side of the protocol (docs/protocol.md): check-in and reports; registration.py has the registration.

The transport is passed in. OSError: there is no reply, or the cloud no longer knows the device; the registration is
then discarded, and the device registers again. UpdateError: an invalid reply, or one with an error status.
"""

import json

from .errors import UpdateError
from .http import read_body
from .log import log
from .parts import Part

_REPLY_BYTES = 4096  # more than any valid reply
_TOKEN_LENGTH = 206
_HOLD_MOST_S = 604800
_FORGET = ("Authentication failed", "Cannot find device")
_ANSWERED = (400, 404, 410, 413, 422)  # a report refused with one of these statuses is not sent again


class Cloud:
    """A client of the cloud, created for one check-in. Longer-lived state is in `agent`: provision, hold_s, date_s."""

    def __init__(self, agent, client):
        self.agent = agent
        self.client = client

    def keep(self, provision):
        """Store the registration; False if it can't be written.

        In that case, it is valid until the next reset, and the next check-in tries to store it again.
        """
        path = self.agent.config["state"] + "/provision.json"
        self.agent.provision = provision
        self.agent.kept = False
        from .space import put

        try:
            put(path, json.dumps(provision).encode())
        except OSError as e:
            log("error", "%s: %r" % (path, e))
            return False
        self.agent.kept = True
        return True

    async def date(self):
        """Return the Unix seconds of the cloud's clock, whatever the status of its reply; 0 without a date."""
        agent = self.agent
        reply = await self.client.request("HEAD", (agent.api() or agent.config["builder"]) + "/tok/provision/update")
        await reply.close()
        return self._times(reply)[0]

    async def check_in(self, facts):
        """Send device.json's properties and `facts`; return the reply, an object or any other JSON value.

        A `token` in the reply replaces the device's token from the next request on, if it can be stored. Until that
        request, the old token is valid.
        """
        agent = self.agent
        if not agent.kept:
            self.keep(agent.provision)
        reply = await self.post(agent.api() + "/tok/provision/update", agent.token(), dict(agent.device, **facts))
        token = reply.get("token") if isinstance(reply, dict) else None
        if is_token(token):
            before = agent.provision
            if not self.keep(dict(before, token=token)):
                agent.provision = before
        return reply

    async def report(self, entry):
        """Deliver one entry of the report queue. On return, the cloud has accepted it or refused it for good."""
        agent = self.agent
        with Part():
            from .update import body

            entry = body(entry, agent.device["id"])
        if entry["state"] in ("rolled_back", "failed") and not agent.board.raw:
            self._add_details(entry)
        await self.post(agent.api() + "/tok/provision/updateReport", agent.token(), entry, True)

    def _add_details(self, entry):
        try:
            with Part():
                from .details import load

                details = load(self.agent, entry)
                if details:
                    entry["details"] = details
        except Exception as e:  # a report without them is better than none
            log("warn", "details: %r" % e)

    async def post(self, url, token, data, is_report=False):
        """Send the dict `data` as JSON and return the JSON of the reply.

        A token in the configuration is never discarded.
        """
        agent = self.agent
        # Without keys, an attacker who controls the network or the cloud controls the device. Each request states this.
        if not agent.config["update.keys"]:
            data["unsigned"] = True
        headers = {"Authorization": "bearer " + token, "Content-Type": "application/json"}
        reply = await self.client.request("POST", url, headers, json.dumps(data).encode())
        try:
            raw = await read_body(reply, _REPLY_BYTES)
        finally:
            await reply.close()
        date_s, hold_s = self._times(reply)
        if url[4] == "s" and agent.config["tls.verify"]:
            agent.date_s = date_s
        try:
            found = json.loads(raw) if raw else {}
        except ValueError:
            found = None
        said = found if isinstance(found, dict) else {"error": repr(raw)[2:-1]}  # decode() could fail
        if isinstance(said.get("delay"), int):
            hold_s = max(hold_s, said["delay"])
        agent.hold_s = min(hold_s, _HOLD_MOST_S)
        if reply.status not in (200, 204):
            self._refused(reply.status, str(said.get("error", ""))[:60], is_report)
        elif found is None and not is_report:
            raise UpdateError("reply_malformed", raw[:40])
        return found

    def _times(self, reply):
        """(Unix seconds of the cloud's clock, seconds until the next request).

        Each is 0 if it is not in the head of the reply.
        """
        with Part():
            from .http_date import http_date, retry_after

            headers = reply.headers
            return http_date(headers.get("date", "")) or 0, retry_after(
                headers.get("retry-after", ""), self.agent.board.time_s()
            ) or 0

    def _refused(self, status, text, is_report):
        for each in _FORGET:
            if text.startswith(each):
                kept = self.agent.provision
                was = kept.get("was") or {key: kept[key] for key in ("api", "token") if key in kept}
                self.keep({"id": self.agent.device["id"], "was": was})  # a token in the configuration is kept
                raise OSError(text + ": registering again")
        text = "%d %s" % (status, text)
        if not is_report or status not in _ANSWERED:
            raise UpdateError("http_status", text)
        log("warn", "report refused: " + text)


def is_token(token):
    """Is `token` a valid token? It is sent in a header."""
    return isinstance(token, str) and 0 < len(token) <= _TOKEN_LENGTH and min(token) > " " and max(token) < "\x7f"
