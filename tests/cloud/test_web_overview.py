"""The overview and the versions of a product on the page: numbers, links to lists, the size of each page."""

import gzip
import html
import json
import re

import pytest
from cloud_under_test import PRODUCT
from ioto_tools.cloud.operators import control
from ioto_tools.cloud.releases.publish import new_product
from ioto_tools.cloud.rollout import fleet_samples
from ioto_tools.cloud.site import attention, fleet_overview
from ioto_tools.cloud.web import assets, products
from web_session import Session, text

WEIGHT = 60_000
DAY = 86400


@pytest.fixture
def operator(cloud):
    return Session(cloud)


def links(reply):
    return [html.unescape(found) for found in re.findall(r'href="([^"]+)"', reply.body.decode())]


def some_fleet(cloud):
    """A release that was stopped, with one failure; a silent device, an unclaimed one; return the release's id."""
    update = cloud.publish("2.0.0", stop="50% after 2")["id"]
    for n, state in enumerate(("confirmed", "failed")):
        token = cloud.device("D%d" % n)
        cloud.check_in("D%d" % n, token, "1.0.0", next=3600)
        reason = "selftest_failed" if state == "failed" else ""
        cloud.report("D%d" % n, token, update, state == "confirmed", state=state, reason=reason, attempt=1)
    cloud.device("D9")
    control.unclaim(cloud.site, "D9")
    cloud.now_s += 3 * 3600
    return update


def test_empty_site(cloud, operator):
    assert "Nothing needs attention." in text(operator.get(""))
    assert "No device of thermo has registered yet." in text(operator.get("product?id=thermo"))


def test_every_item_has_a_link_to_a_page_that_shows_it(cloud, operator):
    update = some_fleet(cloud)
    reply = operator.get("")
    found = text(reply)
    for says in (
        "thermo 2.0.0 is paused, and its stop rule applies: 1 of 2 devices failed",
        "1 device failed to update to thermo 2.0.0 within a day: selftest_failed",
        "2 devices of thermo are overdue for a check-in",
        "1 device of thermo is waiting to be claimed",
    ):
        assert says in found, says
    assert "thermo 3 2 1 2 1" in found
    lists = {link: text(operator.get(link)) for link in links(reply) if link.startswith(("devices?", "release?"))}
    shown = {link: sorted(set(re.findall(r"\bD\d\b", page))) for link, page in lists.items()}
    expected = {"silent=yes": ["D0", "D1"], "claimed=no": ["D9"], "reason=selftest_failed": ["D1"]}
    for part, ids in expected.items():
        assert [each for link, each in shown.items() if part in link] and all(
            each == ids for link, each in shown.items() if part in link
        ), (part, shown)
    assert "release?id=" + update in lists


def test_newest_releases_are_one_click_away(cloud, operator, monkeypatch):
    monkeypatch.setattr(fleet_overview, "MOST_RELEASES", 3)
    ids = {}
    for version, said in (
        ("1.0.0", {}), ("1.1.0", {}), ("1.2.0", {"stages": "1% 1h, 100%"}), ("1.3.0", {"enabled": False}),
        ("1.4.0", {}), ("0.9.0", {"start": "2099-01-01"}),
    ):  # fmt: skip
        cloud.now_s += 1
        ids[version] = cloud.publish(version, **said)["id"]
    control.change_state(cloud.site, ids["1.4.0"], "paused")
    reply = operator.get("")
    assert "Newest releases thermo 0.9.0 scheduled thermo 1.2.0 active stage 1 of 2 (1%) thermo 1.1.0 active" in text(
        reply
    )
    assert "thermo 1.0.0" not in text(reply)
    assert "release?id=" + ids["1.2.0"] in links(reply)


def test_fleet_of_several_products(cloud, operator):
    new_product(cloud.site, "gate", "GATE8888")
    cloud.register("G1", "GATE8888")
    cloud.device("D1")
    assert "All products 2 0 0 0 0" in text(operator.get(""))


def test_only_the_largest_products_have_a_chart(cloud, operator, monkeypatch):
    monkeypatch.setattr(products, "CHARTS", 1)
    new_product(cloud.site, "gate", "GATE8888")
    cloud.register("G1", "GATE8888")
    assert re.findall(r'data-from="([^"]+)"', operator.get("").body.decode()) == ["versions?id=GATE8888"]


def test_versions_of_a_product(cloud, operator):
    token = cloud.device("D1")
    cloud.check_in("D1", token, "1.0.0")
    fleet_samples.take_due(cloud.site)
    cloud.device("D2")
    cloud.now_s += DAY
    cloud.check_in("D1", token, "1.1.0")
    operator.sign_in("token-of-jo")
    page = operator.get("product?id=thermo")
    assert "1.1.0 1 0 - - 1.0.0 0 1 - - no check-in yet 1 0 - -" in text(page)
    assert "devices?product=%s&version=1.1.0" % PRODUCT in links(page)
    assert operator.get("versions?id=thermo").json() == {
        "at_s": [cloud.now_s - DAY, cloud.now_s],
        "names": ["1.1.0", "1.0.0", "no check-in yet"],
        "counts": [[0, 1], [1, 0], [0, 1]],
    }


def test_reader_sees_names_instead_of_product_ids(cloud):
    some_fleet(cloud)
    reader = Session(cloud, "reader", "read")
    for page in ("", "product?id=thermo", "versions?id=thermo", "products"):
        assert PRODUCT not in reader.get(page).body.decode(), page


def loaded_files(body):
    """The static files that the page loads: {name: size of the compressed file}."""
    paths = set(re.findall(r"static/\w+/([\w.]+)", body))
    return {name: len(assets.asset(name).gzipped) for name in paths}


def test_each_page_and_its_files_are_small(cloud, operator):
    some_fleet(cloud)
    samples = cloud.site.database.read(fleet_samples.count, PRODUCT, cloud.now_s)
    cloud.site.database.write(store_year, samples, cloud.now_s)
    update = cloud.publish("3.0.0")["id"]
    for page in ("", "product?id=thermo", "release?id=" + update, "devices", "device?id=D1", "audit", "publish"):
        reply = operator.get(page)
        files = loaded_files(reply.body.decode())
        more = [operator.get(html.unescape(each)) for each in re.findall(r'data-from="([^"]+)"', reply.body.decode())]
        size = sum(files.values()) + sum(len(gzip.compress(each.body)) for each in (reply, *more))
        assert "htmx.min.js" in files and size < WEIGHT, (page, size, files)
        assert ("uPlot.iife.min.js" in files) == bool(more), page


def store_year(conn, counted, now_s):
    for n in range(400):
        versions = {"1.%d.%d" % (n // 40, each): 100 * each + n for each in range(12)}
        sample = {**counted, "at_s": now_s - (400 - n) * DAY, "versions": versions, "devices": 20000}
        conn.execute(
            fleet_samples.fleet_samples.insert().values(product=PRODUCT, at_s=sample["at_s"], counts=json.dumps(sample))
        )


def test_overview_links_to_pages_that_exist():
    names = {path.stem for path in assets.FOLDER.parent.joinpath("templates").iterdir()}
    source = open(attention.__file__).read()
    assert set(re.findall(r'"page": "(\w+)"', source)) <= names
