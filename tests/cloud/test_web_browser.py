"""An operator's day in Debian's Chromium, on desktop and phone: publish, dry run, watch, stop.

`make screenshots` keeps the screenshots.
"""

import http.client
import json
import re
import signal
import time
from urllib.parse import urlsplit

import pytest
from browser import DESKTOP, PHONE, Visitor, browser, needed
from cloud_under_test import PRODUCT, ROOT, esp_image
from ioto_tools.cloud.operators import control, operator_tokens
from ioto_tools.cloud.releases.publish import new_product
from ioto_tools.cloud.site.site import Site
from page_picture import picture

SHOTS = ROOT / ".build" / "screenshots"
WEIGHT = 60_000
pytestmark = needed


class Devices:
    """Devices of the cloud at `address` that register, check in and report over HTTP."""

    def __init__(self, address, n):
        self.connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
        self.ids = ["roof-%02d" % i for i in range(n)]
        self.tokens = {id: self.post("/device/register", PRODUCT, id=id)["token"] for id in self.ids}

    def post(self, path, token, **fields):
        self.connection.request("POST", path, json.dumps(fields), {"Authorization": token})
        reply = self.connection.getresponse()
        body = reply.read()
        self.connection.close()  # the cloud may close it before the next request
        assert reply.status == 200, body
        return json.loads(body)

    def check_in(self, version="1.0.0"):
        """Check in all devices; return {id: the update that it was offered}."""
        found = {}
        for n, id in enumerate(self.ids):
            fields = {"version": version, "region": ("eu", "us-west")[n % 2], "memory": 512}
            if update := self.post("/tok/provision/update", self.tokens[id], id=id, **fields).get("update"):
                found[id] = update
        return found

    def check_in_until(self, right):
        """Check in until right(offers) is true; return them. A worker sees an operator's change within a second."""
        until = time.monotonic() + 20
        while not right(found := self.check_in()):
            assert time.monotonic() < until, found
            time.sleep(0.2)
        return found

    def report(self, offered, *states):
        """Let each device send one report; the devices take the states in turn."""
        for n, (id, update) in enumerate(offered.items()):
            state = states[n % len(states)]
            fields = {"id": id, "update": update, "attempt": 1, "state": state, "success": state == "confirmed"}
            self.post(
                "/tok/provision/updateReport",
                self.tokens[id],
                **fields,
                reason="checksum_mismatch" if state == "failed" else "",
            )


@pytest.fixture
def started(tmp_path, serve):
    """(process, address of a cloud with one product, an operator's token)."""
    site = Site(tmp_path / "ioto-cloud", make=True)
    new_product(site, "thermo", PRODUCT)
    token = operator_tokens.new(site, "jo", "admin")["token"]
    site.close()
    (tmp_path / "micropython.bin").write_bytes(esp_image(b"new", 200_000))
    return *serve(), token


class Operator(Visitor):
    """An operator with a browser.

    `shot(name)` saves the screen as `name`-`size`.png and checks that it fits; `sizes`: [(name, size of the window)];
    the operator works in the last one.
    """

    sizes = ()

    def shot(self, name):
        SHOTS.mkdir(parents=True, exist_ok=True)
        for size, window in self.sizes:
            self.page.set_viewport_size(window)
            assert self.wider_than_the_window() == 0, (name, size)
            self.page.screenshot(path=SHOTS / ("%s-%s.png" % (name, size)), full_page=True)

    def focused(self):
        return self.page.evaluate("document.activeElement.innerText")

    def waits_for(self, text):
        self.page.get_by_text(text).first.wait_for()


def publish(operator, image, version):
    page = operator.page
    page.get_by_role("link", name="thermo").first.click()
    page.get_by_role("link", name="Publish a release").click()
    page.get_by_label("Version").fill(version)
    page.get_by_label("Image", exact=True).set_input_files(image)
    policy = page.get_by_label("Policy: which devices")
    policy.fill("device.version < update.version && device.region = 'eu'")
    operator.waits_for("line 1, column 50: ")  # while typing
    operator.shot("policy")
    policy.fill("device.version < update.version && device.region == 'eu'")
    operator.waits_for("Valid policy.")
    page.get_by_label("Limit (devices in total)").fill("x")
    page.get_by_role("button", name="Publish", exact=True).click()
    operator.waits_for("limit x: expected: a number of devices")
    assert page.get_by_label("Version").input_value() == version  # typed values are kept
    page.get_by_label("Limit (devices in total)").fill("8")
    page.get_by_label("Stop rule").fill("50% after 20")
    page.get_by_label("Age of devices").fill("none")
    page.get_by_label("Wait for approval").check()
    page.get_by_role("button", name="Dry run").click()
    operator.waits_for("8 of 24 stored devices would be offered the release.")
    operator.shot("dry-run")
    page.get_by_role("button", name="Publish", exact=True).click()
    page.wait_for_url("**/release?id=*")


def edited_form_is_kept(operator, site, release):
    """Another operator changes the release while a form is edited: the page shows a notice and keeps the input."""
    page = operator.page
    page.get_by_text("Change the rollout").click()
    page.get_by_label("Limit (devices in total)").fill("777")
    control.set_terms(site, release, {"rate": "100", "period": "1 hour"})
    operator.waits_for("The release was changed")
    assert page.get_by_label("Limit (devices in total)").input_value() == "777"
    page.get_by_role("link", name="reload the page").click()
    page.locator("dt:text('rate') + dd", has_text="100").wait_for()
    control.set_terms(site, release, {"rate": "none"})  # without an edited form, the page reloads by itself
    page.locator("dt:text('rate') + dd", has_text="none").wait_for()


def empty_chart_has_a_time_axis(operator):
    operator.page.wait_for_function("chart")  # created after the page's fragment has loaded
    labels = operator.page.evaluate("chart.axes[0]._values")
    assert len(set(labels)) == len(labels) and not any("1970" in label or "Jan" in label for label in labels), labels


def watch(operator, devices, site):
    page = operator.page
    operator.waits_for("No device has been offered the release yet.")
    empty_chart_has_a_time_axis(operator)
    edited_form_is_kept(operator, site, page.url.partition("id=")[2])
    assert devices.check_in() == {}  # the release awaits approval
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("button", name="Pause").wait_for()
    offered = devices.check_in_until(lambda found: len(found) == 8)
    assert devices.check_in() == offered  # the policy matches twelve, the limit is eight
    operator.waits_for("Offered to 8 of at most 8 devices.")  # without a reload
    devices.report(offered, "downloading", "confirmed", "confirmed", "failed")
    page.locator("#progress .counts li", has_text="confirmed 4").wait_for()
    page.locator("#chart .u-legend tr", has_text="confirmed").get_by_text("4").wait_for()
    assert page.locator("#chart canvas").bounding_box()["width"] > 200
    operator.shot("release")
    if operator.sizes == LIGHT:
        same_picture(picture(page, 900, 420))


def same_picture(svg):
    """The picture in README.md matches the page."""
    (SHOTS / "release.svg").write_text(svg)
    texts = [re.findall("<text.*?>(.*)</text>", shown) for shown in (svg, (ROOT / "docs" / "release.svg").read_text())]
    assert texts[0] == texts[1], "the page has changed: run `make screenshots`, then copy release.svg to docs/"


def stop(operator, devices):
    page = operator.page
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").wait_for()
    page.get_by_text("Change the rollout").click()
    page.get_by_label("Limit (devices in total)").fill("")
    page.get_by_role("button", name="Save").click()
    page.locator("dt:text('limit') + dd", has_text="none").wait_for()
    devices.check_in_until(lambda found: not found)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    operator.waits_for("release.cancelled")
    assert page.get_by_role("button", name="Resume").count() == 0


def look_around(operator):
    page = operator.page
    page.get_by_role("link", name="Devices", exact=True).click()
    page.get_by_text("More conditions").click()
    page.get_by_label("Id begins with").fill("roof-1")
    page.get_by_label("Matches policy").fill("region == 'eu' && version == '1.0.0'")
    page.keyboard.press("Enter")
    operator.waits_for("5 devices")
    operator.shot("devices")
    page.set_viewport_size(PHONE)
    heights = page.evaluate(
        "[...document.querySelectorAll('#devices tbody tr:not(.more)')].map((row) => row.offsetHeight)"
    )
    assert heights and max(heights) <= 64, heights  # two lines each
    page.set_viewport_size(operator.sizes[-1][1])
    page.get_by_role("link", name="roof-12").click()
    operator.waits_for("not offered: it is cancelled")
    operator.shot("device")
    for name in ("Audit", "Overview", "Products", "Tokens"):
        page.get_by_role("link", name=name, exact=True).click()
        page.get_by_role("heading", level=1, name=name).wait_for()
        if name == "Overview":
            versions_are_drawn(operator)
        operator.shot(name.lower())


def versions_are_drawn(operator):
    page = operator.page
    page.locator(".versions .u-legend tr", has_text="1.0.0").get_by_text("24").wait_for()
    assert page.locator(".versions canvas").bounding_box()["width"] > 200
    operator.waits_for("devices failed to update to thermo 1.1.0 within a day: checksum_mismatch")


def by_keyboard(operator):
    """Create a token without a mouse: pass the navigation with the skip link, then go from field to field."""
    press = operator.page.keyboard.press
    press("Tab")
    assert operator.focused() == "Skip to content"
    press("Enter")
    for wanted in ("Revoke", "New token"):
        press("Tab")
        assert operator.focused() == wanted
    press("Space")
    for text in ("ci", "publish", "90 days"):
        press("Tab")
        operator.page.keyboard.type(text)
    press("Enter")
    operator.waits_for("shown only once")
    assert operator.page.locator("#made code").inner_text().startswith("ioto_")


def cloud_does_not_answer(operator, process, release):
    operator.page.goto(release)
    process.send_signal(signal.SIGINT)
    operator.waits_for("The cloud does not answer.")


LIGHT = ("phone", PHONE), ("desktop", DESKTOP)
DARK = ("desktop-dark", DESKTOP), ("phone-dark", PHONE)


@pytest.mark.parametrize(
    "sizes,options",
    [
        pytest.param(LIGHT, {}, id="desktop"),
        pytest.param(DARK, {"color_scheme": "dark", "has_touch": True}, id="phone", marks=pytest.mark.sweep),
    ],
)
def test_publish_dry_run_watch_stop(started, tmp_path, sizes, options):
    process, address, token = started
    devices = Devices(address, 24)
    devices.check_in()
    with browser() as chromium:
        operator = Operator(chromium, address, sizes[-1][1], **options)
        operator.sizes = sizes
        operator.page.goto("sign-in")
        operator.shot("sign-in")
        operator.sign_in(token)
        publish(operator, tmp_path / "micropython.bin", "1.1.0")
        release = operator.page.url
        watch(operator, devices, Site(tmp_path / "ioto-cloud"))
        stop(operator, devices)
        look_around(operator)
        by_keyboard(operator)
        first_visit_is_small(chromium, operator, address, release)
        assert [text for text in operator.complaints if "400 (Bad Request)" not in text] == []  # caused by the limit x
        cloud_does_not_answer(operator, process, release)


def first_visit_is_small(chromium, operator, address, release):
    """Check how many bytes a first visit to the largest page loads."""
    fresh, sizes = Visitor(chromium, address, DESKTOP), {}
    fresh.context.add_cookies(operator.context.cookies())
    fresh.page.on("requestfinished", lambda request: sizes.update({request.url: request.sizes()["responseBodySize"]}))
    fresh.page.goto(release, wait_until="networkidle")
    assert sum(sizes.values()) < WEIGHT and any("uPlot" in url for url in sizes), sizes
    assert fresh.complaints == []
