"""Each page passes the rules of axe-core and fits on the screen: desktop and phone, light and dark."""

import http.client
import json
from importlib.resources import files
from urllib.parse import urlsplit

import pytest
from browser import DESKTOP, PHONE, Visitor, browser, needed
from cloud_under_test import PRODUCT, esp_image
from ioto_tools.cloud.operators import control, groups, operator_tokens, webhooks
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.cloud.rollout import fleet_samples
from ioto_tools.cloud.site.site import Site
from ioto_tools.cloud.web import pages
from packed_release import store_packed
from starlette.routing import Mount

pytestmark = [needed, pytest.mark.sweep]
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
RUN = "axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations)"
NOT_PAGES = {  # parts of pages, and data
    "/bulk-count", "/progress", "/samples", "/versions", "/device-rows", "/device-count", "/device-export",
    "/group-devices",
    "/static/{hash}/{name}",
}  # fmt: skip
QUERIES = {
    "/release": "id=thermo@1.1.0",
    "/retire": "id=thermo@1.1.0",
    "/product": "id=thermo",
    "/product-settings": "id=thermo",
    "/keys": "id=thermo",
    "/bulk": "action=claim&product=thermo",
    "/device": "id=D0",
}


def paths():
    mount = next(route for route in pages.ROUTES if isinstance(route, Mount))
    return [route.path for route in mount.routes if "GET" in route.methods and route.path not in NOT_PAGES]


class Device:
    """A device of the cloud at `address`, over HTTP."""

    def __init__(self, address, id):
        self.host, self.id = urlsplit(address).netloc, id
        self.token = self.post("/device/register", PRODUCT)["token"]

    def post(self, path, token, **fields):
        connection = http.client.HTTPConnection(self.host, timeout=20)
        connection.request("POST", path, json.dumps({"id": self.id, **fields}), {"Authorization": token})
        reply = connection.getresponse()
        body = reply.read()
        connection.close()
        assert reply.status == 200, body
        return json.loads(body)

    def check_in(self, version, **fields):
        return self.post("/tok/provision/update", self.token, version=version, **fields).get("update")

    def report(self, update, state, **fields):
        success = state == "confirmed"
        self.post(
            "/tok/provision/updateReport", self.token, update=update, attempt=1, state=state, success=success, **fields
        )


@pytest.fixture
def filled(tmp_path, serve):
    """(address of a cloud whose pages all have content, an operator's token)."""
    site = Site(tmp_path / "ioto-cloud", make=True)
    new_product(site, "thermo", PRODUCT)
    token = operator_tokens.new(site, "jo", "admin")["token"]
    operator_tokens.new(site, "ci", "publish", 3600)
    groups.set_policy(site, "beta", "device.beta == true")
    webhooks.new(site, "https://hooks.test/", ["release.stopped"])
    (tmp_path / "image.bin").write_bytes(esp_image(b"new", 20_000))
    said = {"age": "none", "stop": "50% after 5", "policy": "device.version < update.version && region == 'eu'"}
    update = publish(site, tmp_path / "image.bin", "thermo", "1.1.0", said=said)[0]["id"]
    store_packed(site, update, esp_image(b"new", 20_000))
    store_packed(site, update, esp_image(b"new", 20_000), esp_image(b"old", 20_000), "failed", reason="not smaller")
    _, address = serve()
    devices = [Device(address, "D%d" % n) for n in range(8)]
    states = ("downloading", "staged", "confirmed", "failed", "rolled_back", "deferred")
    for n, device in enumerate(devices):
        update = device.check_in("1.0.0", region="eu", health={"heap": 100_000, "rssi": -60})
        if update and n < len(states):
            details = {
                "reset": "panic",
                "trace": 'Traceback\n  File "main.py", line 3, in f\nValueError: x',
                "log": "a\nb",
            }
            bad = states[n] in ("failed", "rolled_back")
            more = {"reason": "selftest_failed", "details": details} if bad else {}
            device.report(update, states[n], **more)
    control.unclaim(site, "D7")
    fleet_samples.take_due(site)
    site.close()
    return address, token


def violations(page):
    """The rules of axe-core that the open page violates, each with examples."""
    page.evaluate(AXE)
    return [
        "%s: %s"
        % (each["id"], "; ".join("%s %s" % (node["html"][:120], node["failureSummary"]) for node in each["nodes"][:3]))
        for each in page.evaluate(RUN)
    ]


@pytest.mark.parametrize("scheme", ("light", "dark"))
@pytest.mark.parametrize("size", (DESKTOP, PHONE), ids=("desktop", "phone"))
def test_every_page_passes(filled, size, scheme):
    address, token = filled
    found = {}
    with browser() as chromium:
        visitor = Visitor(chromium, address, size, color_scheme=scheme)
        page = visitor.page
        page.goto("sign-in")
        found["sign-in"] = violations(page)
        visitor.sign_in(token)
        for path in (*paths(), "/device?id=nobody"):
            query = QUERIES.get(path)
            reply = page.goto(path[1:] + ("?" + query if query else ""), wait_until="networkidle")
            assert reply.status == (404 if "nobody" in path else 200), path
            for closed in page.locator("details:not([open]) > summary").all():
                closed.click()
            found[path] = violations(page)
            assert visitor.wider_than_the_window() == 0, path
    assert not any(found.values()), {path: each for path, each in found.items() if each}
