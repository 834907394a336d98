"""The update in work: the phases, the queue of reports, and every step of its life as a change of the record. Pure.

Nothing here saves: the caller saves before it acts on a changed record, and puts the old one back if it can't.
"""

# phase -> [next when it went well, next when it failed]
PHASES = {
    "idle": ["download", "report"],  # an offer is taken, or refused
    "download": ["staged", "report"],  # verified by what was read back, or given up
    "staged": ["trial", "report"],  # swapped, or dropped
    "trial": ["report", "report"],  # confirmed or given up; a further attempt goes back, see RETRY
    "report": ["idle", "idle"],  # the outcome is in the record, its delivery is the queue's business
}
# Another attempt of the same update: back to where its image has to come from.
RETRY = {"trial": ["staged", "download"], "staged": ["download"]}
# Of reports. At least once: an entry leaves the queue when the cloud has answered it.
OUTCOMES = ["confirmed", "failed", "refused", "rolled_back"]
STATES = ["downloading", "staged", "deferred", "applied"] + OUTCOMES
_REPORTS_MOST = 16
_FAILED_MOST = 4  # updates remembered as failed


def same(offer, update):
    """Is `offer` the update in work, byte for byte?"""
    for key in ("update", "checksum", "version"):
        if not update or offer[key] != update[key]:
            return False
    return True


def copied(record):
    """What to go back to when a change of the record can't be saved."""
    return {key: value.copy() if hasattr(value, "copy") else value for key, value in record.items()}


def move(phase, to):
    """Returns `to` if the table allows it from `phase`; ValueError otherwise."""
    if to not in PHASES.get(phase, ()) and to not in RETRY.get(phase, ()):
        raise ValueError("phase %s cannot become %s" % (phase, to))
    return to


def add_report(record, update, state, version, reason="", attempt=0):
    """Queue one report; the same (update, attempt, state) is queued once. `version` is what runs now.

    When the queue is full the steps on the way go, oldest first; the outcome of an update is never dropped.
    """
    queue = record["reports"]
    for entry in queue:
        if (entry["update"], entry["state"], entry["attempt"]) == (update, state, attempt):
            return
    if len(queue) >= _REPORTS_MOST:
        steps = [entry for entry in queue if entry["state"] not in OUTCOMES]
        queue.remove((steps or queue)[0])
    entry = {"update": update, "state": state, "version": version, "attempt": attempt}
    if reason:
        entry["reason"] = reason
    queue.append(entry)


def body(entry, device):
    """The entry as it goes over the wire."""
    return dict(entry, id=device, success=entry["state"] not in OUTCOMES[1:])


class Update:
    """`record` as in record.empty(); `running` is the running slot's label, `build` its build id."""

    def __init__(self, record, running, build, version, attempts):
        self.record = record
        self.running = running
        self.build = build
        self.stated = version
        self._attempts = attempts

    def version(self):
        """Of the running software: what is on trial in this slot, what was installed in it, or ioto.json's where that has changed since."""
        update = self.record["update"]
        if self.record["phase"] == "trial" and update["slot"] == self.running and not update.get("script"):
            return update["version"]
        found = self._installed()
        return found["version"] if found and found.get("stated", self.stated) == self.stated else self.stated

    def attempts(self):
        """Of the update in work, before it is remembered as failed; an operator's `retry` counts on from those before."""
        return (self.record["update"] or {}).get("most", self._attempts)

    def image(self):
        """SHA-256 of the running image where it is known, else None."""
        return self._installed().get("image")

    def _installed(self):
        """What was installed in the running slot, if it is this."""
        found = self.record["slots"].get(self.running)
        return found if found and found["build"] == self.build else {}

    def floor(self, version):
        """The higher of `version` ("" for none) and the highest one that the record has seen confirmed."""
        from .semver import compare

        kept = self.record["floor"]
        return version if not kept or version and compare(version, kept) > 0 else kept

    def report(self, state, reason="", of=None):
        """Queue a report about `of`, the update in work unless said. A stranger's cloud gets outcomes only."""
        of = of or self.record["update"]
        if of.get("ours") or state in OUTCOMES[:3]:
            add_report(self.record, of["update"], state, self.version(), reason, self.record["attempt"])

    def _to(self, phase):
        self.record["phase"] = move(self.record["phase"], phase)

    def refuse(self, update, reason, ours=False, state="refused"):
        """An offer that never becomes work. It is said once, for what somebody may mend, and to a stranger, who offers it at each check;
        `ours` waits for an answer to each of its offers, and offers it three times.
        """
        if ours or [update, reason] != self.record.get("refused"):
            self.record["refused"] = [update, reason]
            add_report(self.record, update, state, self.version(), reason)

    def take(self, offer, slot):
        """Begin with an offer that plan.judge() lets through; what was in work before and is another is dropped."""
        record = self.record
        if record["phase"] == "report":
            self.done()
        if not same(offer, record["update"]):
            if record["phase"] != "idle":
                self.drop("superseded")
            self._to("download")
            used, given_up = self._tries(offer)
            record["attempt"] = used + 1
            record["outages"] = 0
            if slot != self.running:
                record["slots"].pop(slot, None)
            record["update"] = dict(offer, most=max(used + 1, given_up + self._attempts))
            self.report("downloading")
        elif record["phase"] != "download":  # staged in a slot that has changed since
            self._to("download")
        record["update"].update(slot=slot, ours=offer["ours"], url=offer["url"])  # a link holds for a while, each check-in gives one

    def _tries(self, offer):
        """(attempts at the update so far, those of them that ended with its failure)."""
        used = given_up = 0
        for update, checksum, _, retry, attempt in [failed for failed in self.record["failed"] if len(failed) > 4]:
            if [update, checksum] == [offer["update"], offer["checksum"]]:
                used = max(used, attempt)
                if retry >= 0:
                    given_up = max(given_up, attempt)
        return used, given_up

    def _remember(self, state, retry, attempt):
        """For the next offer of the update in work, see offer.judge()."""
        update = self.record["update"]
        entry = [update["update"], update["checksum"], state, retry, attempt]
        failed = [other for other in self.record["failed"] if other[:4] != entry[:4]]
        self.record["failed"] = failed[1 - _FAILED_MOST :] + [entry]

    def drop(self, reason):
        """What is in work is given up without a fault of its own; its attempts count where it is offered again."""
        self.report("refused", reason)
        if self.record["attempt"] > 1:
            self._remember("dropped", -1, self.record["attempt"] - 1)
        self._to("report")
        self.done()

    def staged(self, head, build, size):
        """The slot holds it, verified; `head` (bytes) is what is kept out of the slot until the swap."""
        self._to("staged")
        self.record["head"] = head.hex()
        self.record["update"].update(build=build, bytes=size)
        self.report("staged")

    def defer(self, until_s):
        self.record["defer"] = until_s
        self.report("deferred")

    def swap(self):
        """The intent, to be saved before the boot choice is changed."""
        self._to("trial")
        if self.record["update"]["slot"] == self.running:  # Linux: not ours until the script has ended well
            self.record["update"]["script"] = True
        self.record["defer"] = None
        self.record["why"] = ""
        self.record["tested"] = False
        self.record["offered"] = 0  # asked again before the next one
        self.report("applied")

    def not_swapped(self):
        """The power went between the intent and the act."""
        self._to("staged")
        if self.record["reports"] and self.record["reports"][-1]["state"] == "applied":
            self.record["reports"].pop()

    def suspend(self):
        """The trial ended only for lack of the cloud's answer: the old image's next check-in judges it, see Agent.is_suspect()."""
        self._to("staged")

    def judge(self):
        """The cloud has answered the old image: the new one was to blame for the trial that ended without an answer."""
        reason, self.record["why"] = self.record["why"], ""
        self.again(reason)

    def again(self, reason, to="staged"):
        """This attempt is lost; another one begins at `to` (`staged` after a trial that was rolled back, `download` when
        the image itself is in doubt), or none is left and the update is remembered as failed.
        """
        if to == "staged":
            self.report("rolled_back", reason)
        self.record["outages"] = 0
        if self.record["attempt"] >= self.attempts():
            self.fail(reason)
        else:
            if self.record["phase"] != to:
                self._to(to)
            self.record["attempt"] += 1
            if to == "staged":  # the cloud goes on offering it
                self.report(to)

    def fail(self, reason, state="failed"):
        """Never again until another update is offered; `refused` where the slot was not touched."""
        self.report(state, reason)
        self._remember(state, self.record["update"].get("retry", 0), self.record["attempt"])
        self._to("report")

    def confirmed(self):
        """The running slot is the update's, for good."""
        update = self.record["update"]
        self.report("confirmed")
        self._to("report")
        self.record["floor"] = self.floor(update["version"])
        self.record["slots"][self.running] = {
            "version": update["version"],
            "image": update.get("image"),
            "build": self.build,
            "stated": self.stated,
        }

    def done(self):
        """The outcome is in the queue; ready for the next offer."""
        self._to("idle")
        self.record["update"] = None
        self.record["attempt"] = 0
        self.record["head"] = self.record["why"] = ""
