"""The life cycle of an update: its phases, the report queue, and for each step a method that changes the record. Pure.

Nothing is saved here: the caller saves the changed record before acting on it, and restores the old one if saving
fails.
"""

# phase -> [next phase on success, next phase on failure]
PHASES = {
    "idle": ["download", "report"],  # an offer is accepted or refused
    "download": ["staged", "report"],  # verified by reading back, or failed
    "staged": ["trial", "report"],  # swapped or dropped
    "trial": ["report", "report"],  # confirmed or failed; another attempt goes back, see RETRY
    "report": ["idle", "idle"],  # the outcome is in the record; the queue takes care of its delivery
}
# Another attempt at the same update goes back: to `staged` to use the staged image, to `download` to fetch it again.
RETRY = {"trial": ["staged", "download"], "staged": ["download"]}
# States of reports. Delivery is at least once: an entry leaves the queue when the cloud has answered it.
OUTCOMES = ["confirmed", "failed", "refused", "rolled_back"]
STATES = ["downloading", "staged", "deferred", "applied"] + OUTCOMES
_REPORTS_MOST = 16
_FAILED_MOST = 4  # updates remembered as failed


def same(offer, update):
    """Does `offer` have the id, checksum and version of the current update?"""
    for key in ("update", "checksum", "version"):
        if not update or offer[key] != update[key]:
            return False
    return True


def copied(record):
    """A copy of the record, to be restored if a change can't be saved."""
    return {key: value.copy() if hasattr(value, "copy") else value for key, value in record.items()}


def move(phase, to):
    """Return `to` if PHASES or RETRY allows it after `phase`; ValueError otherwise."""
    if to not in PHASES.get(phase, ()) and to not in RETRY.get(phase, ()):
        raise ValueError("phase %s cannot become %s" % (phase, to))
    return to


def add_report(record, update, state, version, reason="", attempt=0):
    """Queue one report; the same (update, attempt, state) is queued only once. `version` is the running one.

    When the queue is full, the oldest report of an intermediate state is removed; if there is none, the oldest report.
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
    """The entry in the form that is sent to the cloud."""
    return dict(entry, id=device, success=entry["state"] not in OUTCOMES[1:])


class Update:
    """`record` as in recall.empty(); `running` is the running slot's label, `build` its build id."""

    def __init__(self, record, running, build, version, attempts):
        self.record = record
        self.running = running
        self.build = build
        self.stated = version
        self._attempts = attempts

    def version(self):
        """The running version.

        During a trial of the running slot, the version of the update. Otherwise the version installed in that slot; or
        the version in ioto.json, if none is installed or the version in ioto.json has changed since.
        """
        update = self.record["update"]
        if self.record["phase"] == "trial" and update["slot"] == self.running and not update.get("script"):
            return update["version"]
        found = self._installed()
        return found["version"] if found and found.get("stated", self.stated) == self.stated else self.stated

    def attempts(self):
        """Number of the last attempt allowed for the current update; an operator's `retry` continues the numbering."""
        return (self.record["update"] or {}).get("most", self._attempts)

    def image(self):
        """SHA-256 of the running image, or None if unknown."""
        return self._installed().get("image")

    def _installed(self):
        """The record's entry for the running slot; empty if another build is running."""
        found = self.record["slots"].get(self.running)
        return found if found and found["build"] == self.build else {}

    def floor(self, version):
        """The higher of `version` ("" for none) and the record's highest confirmed version."""
        from .semver import compare

        kept = self.record["floor"]
        return version if not kept or version and compare(version, kept) > 0 else kept

    def report(self, state, reason="", of=None):
        """Queue a report about `of`, by default the current update.

        Clouds other than this project's get only `confirmed`, `failed` and `refused`.
        """
        of = of or self.record["update"]
        if of.get("ours") or state in OUTCOMES[:3]:
            add_report(self.record, of["update"], state, self.version(), reason, self.record["attempt"])

    def _to(self, phase):
        self.record["phase"] = move(self.record["phase"], phase)

    def refuse(self, update, reason, ours=False, state="refused"):
        """Refuse an offer and report it.

        With `ours`, every refusal is reported: this project's cloud makes an offer three times and expects an answer to
        each. Without it, the same refusal is reported only once. This is for other clouds, which repeat an offer at
        every check-in, and for causes that an operator may fix.
        """
        if ours or [update, reason] != self.record.get("refused"):
            self.record["refused"] = [update, reason]
            add_report(self.record, update, state, self.version(), reason)

    def take(self, offer, slot):
        """Start the update of an offer that offer.judge() has accepted; a different current update is dropped."""
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
        elif record["phase"] != "download":  # staged, but the slot has changed
            self._to("download")
        # URLs expire; each check-in returns a new one, which may lead to another file of the release, packed or not.
        record["update"].update(slot=slot, ours=offer["ours"], url=offer["url"], size=offer["size"])

    def _tries(self, offer):
        """(number of the last attempt at the update, number of the attempt before it was last given up); 0: none."""
        used = given_up = 0
        for update, checksum, _, retry, attempt in [failed for failed in self.record["failed"] if len(failed) > 4]:
            if [update, checksum] == [offer["update"], offer["checksum"]]:
                used = max(used, attempt)
                if retry >= 0:
                    given_up = max(given_up, attempt)
        return used, given_up

    def _remember(self, state, retry, attempt):
        """Record the outcome for the next offer of the same update, see offer.judge()."""
        update = self.record["update"]
        entry = [update["update"], update["checksum"], state, retry, attempt]
        failed = [other for other in self.record["failed"] if other[:4] != entry[:4]]
        self.record["failed"] = failed[1 - _FAILED_MOST :] + [entry]

    def drop(self, reason):
        """Drop the current update for a reason other than a failure; its attempts count if it is offered again."""
        self.report("refused", reason)
        if self.record["attempt"] > 1:
            self._remember("dropped", -1, self.record["attempt"] - 1)
        self._to("report")
        self.done()

    def staged(self, head, build, size):
        """Record that the slot contains the verified image, except its `head` (bytes), which is written at the swap."""
        self._to("staged")
        self.record["head"] = head.hex()
        self.record["update"].update(build=build, bytes=size)
        self.report("staged")

    def defer(self, until_s):
        self.record["defer"] = until_s
        self.report("deferred")

    def swap(self):
        """Record the intent to swap; the caller saves it before it changes the boot partition."""
        self._to("trial")
        if self.record["update"]["slot"] == self.running:  # Linux: the update runs only after the script has succeeded
            self.record["update"]["script"] = True
        self.record["defer"] = None
        self.record["why"] = ""
        self.record["tested"] = False
        self.record["offered"] = 0  # the cloud is asked again before the next swap
        self.report("applied")

    def not_swapped(self):
        """Undo swap(): power failed after the intent was saved and before the swap."""
        self._to("staged")
        if self.record["reports"] and self.record["reports"][-1]["state"] == "applied":
            self.record["reports"].pop()

    def suspend(self):
        """The trial ended only because the cloud did not answer.

        The next check-in of the old image shows whether the new image was at fault, see Agent.is_suspect().
        """
        self._to("staged")

    def judge(self):
        """The cloud has answered the old image: the new image, not an outage, made the trial fail."""
        reason, self.record["why"] = self.record["why"], ""
        self.again(reason)

    def again(self, reason, to="staged"):
        """End this attempt.

        The next one starts at `to`: `staged` after a rollback, `download` if the image itself is in doubt. If no
        attempts are left, the update is recorded as failed.
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
            if to == "staged":  # so that the cloud keeps offering it
                self.report(to)

    def fail(self, reason, state="failed"):
        """Record and report the update as failed; `state` is `refused` if the slot was not touched."""
        self.report(state, reason)
        self._remember(state, self.record["update"].get("retry", 0), self.record["attempt"])
        self._to("report")

    def confirmed(self):
        """The update in the running slot is now permanent."""
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
        """The outcome is queued; become ready for the next offer."""
        self._to("idle")
        self.record["update"] = None
        self.record["attempt"] = 0
        self.record["head"] = self.record["why"] = ""
