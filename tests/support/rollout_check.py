"""Three rollouts for the devices of device_load.py, and a check of the database against the offers they received."""

import json
import time
from collections import Counter

import sqlalchemy as sa
from cloud_under_test import call, esp_image
from ioto_tools.cloud.app import create_app
from ioto_tools.cloud.devices import registration, tokens
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.cloud.rollout import leases, state_changes
from ioto_tools.cloud.rules import update_states
from ioto_tools.cloud.storage import queries
from ioto_tools.cloud.storage.tables import devices, releases, reports
from ioto_tools.cloud.storage.tables import grants as grant_rows
from ioto_tools.cloud.storage.tables import leases as lease_rows

PERIOD_S = 2


class Rollouts:
    """A site with devices and three releases: with a limit, with a rate and with a percentage."""

    def __init__(self, site, folder, devices, limit, rate, percentage):
        self.limit, self.rate, self.percentage = limit, rate, percentage
        new_product(site, "thermo", "P7")
        said = {"limit": limit}, {"rate": rate, "period": "%d secs" % PERIOD_S}, {"percentage": percentage}
        for number, terms in enumerate(said):
            (folder / "image.bin").write_bytes(esp_image(b"%d" % number))
            publish(
                site,
                folder / "image.bin",
                "thermo",
                "%d.0.0" % (4 - number),
                said={"age": "none", **{name: str(value) for name, value in terms.items()}},
            )
        self.tokens = {"D%d" % n: "T%d" % n for n in range(devices)}
        site.database.write(self._register, site.now_s())

    def _register(self, conn, now_s):
        for id, token in self.tokens.items():
            queries.register(
                conn, "key of " + id, registration.RegistrationRequest("P7", id, {}, ""), True, now_s, True
            )
            tokens.issue(conn, token, "key of " + id, now_s)


def rows(site, *columns):
    return site.database.read(lambda conn: [tuple(row) for row in conn.execute(sa.select(*columns))])


def rows_of_devices(site, table, *columns):
    """Rows of a table about devices: (id of the device, *columns)."""
    found = sa.select(devices.c.id, *columns).join(devices, devices.c.key == table.c.device)
    return site.database.read(lambda conn: [tuple(row) for row in conn.execute(found.select_from(table))])


def check(site, rollouts, storm):
    """Check that the database agrees with what devices received, and that no quota is exceeded.

    Return the number of grants of the release with a limit.
    """
    update = {version: id for id, version in rows(site, releases.c.id, releases.c.version)}
    limited, slow, some = (update["%d.0.0" % n] for n in (4, 3, 2))
    granted = rows_of_devices(site, grant_rows, grant_rows.c.release, grant_rows.c.granted_s, grant_rows.c.state)
    held = {(device, release) for device, release, _, _ in granted}
    assert set(storm.got) <= held and storm.reports == set(
        rows_of_devices(site, reports, reports.c.release, reports.c.attempt, reports.c.state)
    )
    count = Counter(release for _, release, _, _ in granted)
    taken = dict(rows(site, releases.c.id, releases.c.taken))
    leased = Counter()
    for release, n in rows(site, lease_rows.c.release, lease_rows.c.places):
        leased[release] += n
    assert (
        taken == {release: count[release] + leased[release] for release in taken}
        and count[limited] <= taken[limited] <= rollouts.limit
    )
    assert all(
        update_states.rollout_position(some, device) < rollouts.percentage
        for device, release in held
        if release == some
    )
    _check_counts(site, granted, count)
    _check_rate(rollouts.rate, sorted((at, at) for _, release, at, _ in granted if release == slow))
    _check_rate(rollouts.rate, sorted(when for (_, release), when in storm.got.items() if release == slow))
    return count[limited]


def _check_counts(site, granted, count):
    """Check that the counts of each release are those of its grants."""
    outcomes = rows(site, grant_rows.c.release, grant_rows.c.ended, grant_rows.c.counted)
    for row in site.database.read(queries.all_releases):
        id = row["id"]
        states = Counter(state for _, release, _, state in granted if release == id)
        assert state_changes.device_counts(row, count[id]) == states
        ended = Counter(ended for release, ended, counted in outcomes if release == id and counted)
        assert json.loads(row["counts"]).get("ended", {}) == ended


def _check_rate(rate, moments):
    """Check that no period contains more than `rate` of `moments`, a sorted list of (not before, not after).

    A moment counts only if it is certainly in the period.
    """
    for begins, _ in moments:
        assert sum(begins <= after and before < begins + PERIOD_S for after, before in moments) <= rate, begins


def check_in_all(folder, storm):
    """Check in every device after all leases have expired, so that the slots of killed workers are free.

    Return {device: the update that it is offered or None}.
    """
    later = create_app(folder, rate=0, threads=False, clock=lambda: time.time() + leases.LEASE_S + 1)
    try:
        answers = {}
        for device in storm.devices:
            body = json.dumps({"id": device.id, "version": device.version}).encode()
            reply = call(later, "POST", "/tok/provision/update", {"Authorization": device.token}, body)
            assert reply.status == 200, reply.body
            answers[device.id] = reply.json().get("update")
    finally:
        later.state.site.close()
    return answers


def open_offers(site, storm):
    """{device: update} of the open offers whose version is higher than the one that the device runs."""
    runs = {device.id: device.version for device in storm.devices}
    found = sa.select(devices.c.id, grant_rows.c.release, releases.c.version).select_from(grant_rows).join(releases)
    found = found.join(devices, devices.c.key == grant_rows.c.device).where(grant_rows.c.state.in_(update_states.OPEN))
    return {
        device: update
        for device, update, version in site.database.read(lambda conn: conn.execute(found).all())
        if version > runs[device]
    }
