"""Twelve daily jobs of an operator in Debian's Chromium, on desktop and phone, each with its number of clicks.

Each job starts at the overview, signed in. A click: on a link, a button or a heading that opens; a form sent with
Enter; the answer to a question. Typing and choosing a file do not count. `make screenshots` keeps the screenshots.
"""

import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

import day_site
import pytest
from browser import DESKTOP, PHONE, Visitor, browser, needed
from cloud_under_test import COMMAND, ENV, ROOT, esp_image
from ioto_tools.cloud.operators import operator_tokens, overview
from ioto_tools.cloud.site import fleet_overview
from ioto_tools.cloud.storage import audit
from ioto_tools.cloud.web.devices import REASONS

SHOTS = ROOT / ".build" / "screenshots"
# {job: clicks}; docs/cloud.md has the same table
CLICKS = {
    "Why is a device not updated?": 2,
    "Stop a release now": 2,
    "Versions over time": 1,
    "Failures by reason, with the traceback": 2,
    "Find devices by property": 2,
    "Publish in stages": 3,
    "Read-only access for a colleague": 3,
    "What will a release hit?": 3,
    "Retry the failed devices": 4,
    "Claim twenty devices": 4,
    "Delete an old release": 5,
    "Which devices are silent?": 1,
}
WINDOWS = {"desktop": (DESKTOP, "pump"), "phone": (PHONE, "meter")}  # each has a product of its own


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """(address of the cloud, an operator's token, the Cloud of the same site, {name of a product: its Fleet})."""
    folder = tmp_path_factory.mktemp("day")
    cloud, fleets = day_site.fill(folder, [name for _, name in WINDOWS.values()])
    token = operator_tokens.new(cloud.site, "jo", "admin")["token"]
    command = [*COMMAND, "cloud", "serve", "--port", "0", "--no-packing", "--data", str(folder / "site")]
    process = subprocess.Popen(command, cwd=folder, env=ENV, stdout=subprocess.PIPE, text=True)
    yield process.stdout.readline().split()[3].rstrip(","), token, cloud, fleets
    process.send_signal(signal.SIGINT)
    process.wait(20)
    process.stdout.close()
    cloud.close()


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.fixture(scope="module", params=WINDOWS)
def operator(request, filled, chromium):
    made = Operator(chromium, request.param, *filled)
    yield made
    made.context.close()


class Operator(Visitor):
    """A signed-in operator, who looks after one product. `clicks`: their number in this job."""

    def __init__(self, chromium, window, address, token, cloud, fleets):
        size, name = WINDOWS[window]
        super().__init__(chromium, address, size)
        self.chromium, self.window, self.address = chromium, window, address
        self.cloud, self.site, self.fleet, self.product = cloud, cloud.site, fleets[name], name
        self.clicks = 0
        self.page.on("dialog", self._agree)
        self.sign_in(token)

    def _agree(self, dialog):
        self.clicks += 1
        dialog.accept()

    def click(self, locator):
        locator.click()
        self.clicks += 1

    def link(self, name):
        self.click(self.page.get_by_role("link", name=name, exact=True).first)

    def button(self, name):
        self.click(self.page.get_by_role("button", name=name, exact=True))

    def enter(self):
        self.page.keyboard.press("Enter")
        self.clicks += 1

    def sees(self, text):
        self.page.get_by_text(text).first.wait_for()

    def release(self, version):
        return overview.update(self.site, "%s@%s" % (self.product, version))

    def check_in(self, group):
        """Check in the devices of a group now; return {id: the version that it is offered, or None}."""
        self.cloud.now_s = int(time.time())  # a retried device waits if the retry is later than its check-in
        return self.fleet.check_in(group)

    def versions(self):
        return [each["version"] for each in overview.updates(self.site, self.fleet.product)]

    def audited(self, action):
        """The newest audit rows of the action."""
        return [row for row in self.site.database.read(audit.newest) if row["action"] == action]

    def listed(self):
        return self.page.locator("#devices tbody td:first-child a").all_inner_texts()

    def api(self, path, token, method="GET", fields=None):
        """The status of a request to the API."""
        body = None if fields is None else json.dumps(fields).encode()
        headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
        request = urllib.request.Request(self.address + "/api/v1" + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return reply.status
        except urllib.error.HTTPError as e:
            return e.code

    def publishes(self, version, policy):
        """Open and fill the form to publish a release for the own product."""
        self.link(self.product)
        self.link("Publish a release")
        self.page.get_by_label("Version", exact=True).fill(version)
        self.page.get_by_label("Policy: which devices").fill(policy)
        self.sees("Valid policy.")


def why_is_a_device_not_updated(operator):
    id = operator.fleet.ids("us")[4]
    operator.page.get_by_label("Find a device").fill(id)
    operator.enter()
    operator.link(id)
    offers = {each["version"]: each for each in overview.device(operator.site, id)["offers"]}
    assert offers["1.1.0"]["why"] == "policy"
    row = operator.page.locator("tr", has=operator.page.get_by_role("link", name="1.1.0", exact=True)).first
    shown = row.inner_text()
    assert REASONS["policy"] in shown and 'is false: device.region = "us"' in shown, shown


def stop_a_release(operator):
    assert set(operator.check_in("asia").values()) == {"2.0.0"}
    operator.link(operator.product + " 2.0.0")
    operator.button("Pause")
    operator.page.get_by_role("button", name="Resume").wait_for()
    assert operator.release("2.0.0")["state"] == "paused"
    assert set(operator.check_in("asia").values()) == {None}


def versions_over_time(operator):
    operator.page.locator(".versions .u-legend tr", has_text="1.1.0").first.wait_for()  # also on the overview
    operator.link(operator.product)
    operator.page.locator(".versions .u-legend tr", has_text="1.1.0").get_by_text("3", exact=True).wait_for()
    samples = fleet_overview.of_product(operator.site, operator.product)["samples"]
    counts = dict(fleet_overview.version_table(samples))
    total = sum(day_site.GROUPS.values())
    assert counts["1.1.0"][0] == 3 and counts["1.0.0"][:2] == [total - 3, total]
    for version in ("1.0.0", "1.1.0"):
        cells = operator.page.get_by_role("row").filter(has_text=re.compile("^" + re.escape(version))).last
        shown = cells.locator("td").all_inner_texts()
        assert shown == [version, *("-" if n is None else str(n) for n in counts[version])]


def failures_by_reason(operator):
    operator.link(operator.product)
    operator.link("1.1.0")
    operator.sees("3 devices: selftest_failed: ValueError: no sensor")
    operator.sees("2 devices: checksum_mismatch")
    assert operator.page.locator("pre:visible").first.inner_text() == day_site.TRACE
    found = overview.release_failures(operator.site, operator.release("1.1.0")["update"])
    assert [(each["reason"], each["devices"]) for each in found] == [("selftest_failed", 3), ("checksum_mismatch", 2)]


def find_by_property(operator):
    operator.link("Devices")
    operator.page.get_by_label("Property").fill("building=%s-us" % operator.product)
    operator.enter()
    operator.sees("6 devices")
    assert operator.listed() == operator.fleet.ids("us")
    assert "property=building" in operator.page.url  # the list can be sent to a colleague


def publish_in_stages(operator):
    operator.publishes("3.0.0", "device.version < update.version && device.region == 'lab'")
    image = {"name": "micropython.bin", "mimeType": "application/octet-stream", "buffer": esp_image(b"3.0.0", 4096)}
    operator.page.get_by_label("Image", exact=True).set_input_files(image)
    operator.page.get_by_label("Stages, in place of the percentage").fill("1% 1 hour, 100%")
    operator.page.get_by_label("Gate before each next stage").fill("1 finished")
    operator.button("Publish")
    operator.page.locator(".stages [aria-current=step]", has_text="1 % for at least 1 hour now").wait_for()
    operator.sees("The next stage waits for:")
    release = operator.release("3.0.0")
    assert release["terms"]["stages"] and release["stages"]["stage"] == 1
    offered = operator.check_in("lab")
    assert list(offered.values()).count("3.0.0") < len(offered)  # most are in the second stage


def read_only_access(operator):
    operator.link("Tokens")
    operator.click(operator.page.get_by_text("New token"))
    operator.page.get_by_label("Name").fill("colleague-" + operator.window)
    operator.button("Create token")
    token = operator.page.locator("#made code").inner_text()
    release = operator.release("1.1.0")["update"]
    assert operator.api("/releases/" + release, token) == 200
    assert operator.api("/releases/%s/move" % release, token, "POST", {"move": "pause"}) == 403
    colleague = Visitor(operator.chromium, operator.address, WINDOWS[operator.window][0])
    colleague.sign_in(token)
    assert colleague.page.get_by_role("link", name="Publish").count() == 0
    colleague.page.goto("release?id=" + release)
    colleague.page.get_by_role("heading", name="Failures").wait_for()
    assert colleague.page.get_by_role("button").all_inner_texts() == ["Sign out"] and colleague.complaints == []
    colleague.context.close()


def what_will_a_release_hit(operator):
    operator.publishes("9.9.9", "device.version < update.version && device.region == 'us'")
    operator.button("Dry run")
    operator.sees("6 of %d stored devices would be offered the release." % sum(day_site.GROUPS.values()))
    row = operator.page.locator(".dry-run tr", has_text=re.compile("^offered"))
    assert row.get_by_role("link").first.inner_text() in operator.fleet.ids("us")
    assert "9.9.9" not in operator.versions()


def retry_the_failed(operator):
    operator.link(operator.product)
    operator.link("1.1.0")
    assert operator.release("1.1.0")["states"] == {"confirmed": 3, "failed": 2, "rolled_back": 3}
    operator.button("Try again: all")
    operator.sees("release.retried")
    assert [row["detail"]["devices"] for row in operator.release("1.1.0")["audit"] if "devices" in row["detail"]] == [5]
    assert list(operator.check_in("eu").values())[:5] == ["1.1.0"] * 5
    operator.page.locator("#progress .counts li", has_text="offered 5").wait_for()  # without a reload


def claim_twenty(operator):
    operator.link("20 devices of %s are waiting to be claimed" % operator.product)
    operator.button("Claim")
    operator.page.locator("#bulk strong", has_text="20").wait_for()
    operator.button("Claim")
    operator.sees("Finished: 20 devices.")
    assert all(overview.device(operator.site, id)["claimed"] for id in operator.fleet.ids("new"))
    assert all(operator.fleet.register(id) for id in operator.fleet.ids("new"))
    rows = [row for row in operator.audited("product.devices_claimed") if row["subject"] == operator.fleet.product]
    assert [row["detail"]["devices"] for row in rows] == [20]


def delete_an_old_release(operator):
    old = operator.release("0.9.0")
    operator.link(operator.product)
    operator.link("0.9.0")
    operator.link("Delete or archive this release")
    operator.button("Delete")
    operator.page.get_by_role("heading", level=1, name=operator.product, exact=True).wait_for()
    assert operator.page.get_by_role("link", name="0.9.0").count() == 0
    assert "0.9.0" not in operator.versions() and not operator.cloud.has_image(old["checksum"])
    assert old["update"] in [row["subject"] for row in operator.audited("release.deleted")]


def which_devices_are_silent(operator):
    operator.link("3 devices of %s are overdue for a check-in" % operator.product)
    operator.sees("3 devices")
    assert sorted(operator.listed()) == operator.fleet.ids("gone")
    found = fleet_overview.of_site(operator.site)["products"]
    assert next(each["silent"] for each in found if each["name"] == operator.product) == 3


JOBS = (
    why_is_a_device_not_updated, stop_a_release, versions_over_time, failures_by_reason, find_by_property,
    publish_in_stages, read_only_access, what_will_a_release_hit, retry_the_failed, claim_twenty,
    delete_an_old_release, which_devices_are_silent,
)  # fmt: skip


@needed
@pytest.mark.sweep
@pytest.mark.parametrize("job,do", [*zip(CLICKS, JOBS, strict=True)], ids=[do.__name__ for do in JOBS])
def test_job(operator, job, do):
    operator.complaints.clear()
    operator.page.goto("", wait_until="networkidle")
    operator.clicks = 0
    do(operator)
    print("%s, %s: %d clicks" % (job, operator.window, operator.clicks))
    SHOTS.mkdir(parents=True, exist_ok=True)
    operator.page.screenshot(path=SHOTS / ("day-%s-%s.png" % (do.__name__, operator.window)), full_page=True)
    assert operator.clicks == CLICKS[job]
    assert operator.wider_than_the_window() == 0 and operator.complaints == []


def test_the_guide_has_the_table_of_jobs():
    text = (ROOT / "docs" / "cloud.md").read_text().partition("## The day of an operator\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| .+ \| (\d+) \|$", text, re.M)
    assert [(job, int(n)) for job, n in rows] == list(CLICKS.items())
    pictures = re.findall(r"^\| `(\w+)` \|", text, re.M)
    assert pictures == [do.__name__ for do in JOBS]
