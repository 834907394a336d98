"""The pages for devices: search, ids with any characters, why a release is offered to a device or not, and actions."""

import html
import re
from urllib.parse import urlencode

import pytest
from cloud_under_test import PRODUCT
from ioto_tools.cloud.lists import device_list
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.releases import publish as publishing
from ioto_tools.cloud.storage import audit
from web_session import REFUSED, Session, problem, text


@pytest.fixture
def operator(cloud):
    return Session(cloud)


def test_lone_surrogate_in_a_device_property(operator, cloud):
    """JSON can contain a lone surrogate, a page cannot: all the rest is shown, and the device can be removed."""
    body = b'{"id":"D1","version":"1.0.0","\\ud800":"\\udfff","list":["\\ud800"],"good":"yes"}'
    assert cloud.post("/tok/provision/update", body, cloud.device()).status == 200
    page = operator.get("device?id=D1")
    assert page.status == 200 and "good" in text(page) and "Remove" in text(page)


IDS = [
    "a", "a/b", "a/c?d=1&e#f", "aa", "a%2f", "A", "ab\u00e9", "ab\U0001f600", "b", "B1", "b'\"<>", "b b", "..",
    "z" * 128, "\u00e9", "0", "_", "a_b", "a%",
]  # fmt: skip
POLICIES = {
    "": lambda n: True,
    "region == 'eu'": lambda n: n % 2 == 0,
    "n > 100": lambda n: False,
    "n >= 5": lambda n: n >= 5,
}


def listed(body):
    return [html.unescape(id) for id in re.findall(r'<a href="device\?id=[^"]*">(.*?)</a>', body)]


def walk(operator, page):
    """The ids on each page, as a list of lists; each page loads its rows in steps, as in a browser."""
    found = [[]]
    for _ in range(3 * len(IDS)):
        body = operator.get(page).body.decode()
        found[-1] += listed(body)
        more = re.search(r'<tr class="more"[^>]*?hx-get="([^"]*)"', body)
        next = re.search(r'<a href="([^"]*)" rel="next"', body)
        if not more and not next:
            return found
        found += [[]] if next else []
        page = html.unescape((more or next)[1])
    raise AssertionError("the list never ends")


def query(**fields):
    return "devices?" + urlencode(fields)


@pytest.mark.sweep
@pytest.mark.parametrize("most,looks", [(50, 5000), (3, 5000), (3, 2), (1, 1)])
def test_search_finds_exactly_the_matching_devices(cloud, operator, monkeypatch, most, looks):
    monkeypatch.setattr(device_list, "PAGE", most)
    monkeypatch.setattr(device_list, "MOST_EXAMINED", looks)
    monkeypatch.setattr(device_list, "MOST_COSTLY", looks)
    publishing.new_product(cloud.site, "gate", "G8")
    of = {id: "G8" if n % 4 == 0 else PRODUCT for n, id in enumerate(IDS)}
    for n, id in enumerate(IDS):
        assert cloud.register(id, of[id], n=n, region=("eu", "us")[n % 2]).status == 200
    control.remove(cloud.site, "aa")
    here = [id for id in sorted(IDS) if id != "aa"]
    for begins in ("", "a", "a/", "a%", "a_", "b", "B", "\u00e9", "ab", "x", "zz"):
        for product in ("", PRODUCT, "G8"):
            for policy, keep in POLICIES.items():
                wanted = [
                    id for id in here if id.startswith(begins) and product in ("", of[id]) and keep(IDS.index(id))
                ]
                pages = walk(operator, query(product=product, id=begins, policy=policy))
                assert [id for page in pages for id in page] == wanted
                assert max(map(len, pages)) <= most


def test_search_with_an_invalid_policy_names_the_position(operator):
    reply = operator.get(query(policy="major <"))
    assert reply.status == 400 and "policy: line 1, column 8" in problem(reply) and b'value="major &lt;"' in reply.body


@pytest.mark.parametrize("id", IDS)
def test_device_page_with_any_id(cloud, operator, id):
    cloud.check_in(id, cloud.device(id), "1.0.0", note="<script>", deep={"a": [1, None, True]})
    link = re.search(r'href="(device\?[^"]*)"', operator.get("devices").body.decode())[1]
    reply = operator.get(html.unescape(link))
    assert html.unescape(re.search("<h1>(.*?)</h1>", reply.body.decode())[1]) == id and b"<>" not in reply.body
    assert b"<script>" not in reply.body
    assert operator.post("device", {"id": id, "action": "pin", "version": "1.0.0"}).status == 303
    assert overview.device(cloud.site, id)["pin"] == "1.0.0"


def test_why_each_release_is_not_offered(cloud, operator):
    cloud.publish("0.9.0")
    runs, off, waits, meant = (cloud.publish(version) for version in ("1.0.0", "1.3.0", "1.2.0", "1.1.0"))
    control.enable(cloud.site, off["id"], False)
    control.change_state(cloud.site, waits["id"], "paused")
    control.set_terms(
        cloud.site, meant["id"], {"policy": "device.version < update.version && (device.region == 'us' || pro == true)"}
    )
    token = cloud.device("D1")
    cloud.check_in("D1", token, "1.0.0", region="eu")
    found = text(operator.get("device?id=D1"))
    assert (
        "1.3.0 not offered: it is disabled 1.2.0 not offered: it is paused 1.1.0 not offered: its policy does "
        "not match" in found
    )
    assert (
        "device.region == 'us' is false: device.region = \"eu\"" in found
        and "pro == true is false: pro = null" in found
    )
    assert (
        "device.version < update.version is true" in found
        and "1.0.0 not offered: the device runs this version" in found
    )
    assert "`" not in found
    cloud.check_in("D1", token, "1.0.0", region="us")
    assert "1.1.0 offered" in text(operator.get("device?id=D1"))


def test_device_actions(cloud, operator):
    cloud.check_in("D1", cloud.device("D1"), "1.0.0")
    actions = []
    for action, field, value in (
        ("rotate", "claimed", True),
        ("pin", "pin", "2.0.0"),
        ("unpin", "pin", None),
        ("release", "claimed", False),
        ("claim", "claimed", True),
        ("revoke", "claimed", False),
        ("remove", "removed", True),
    ):
        form = {"id": "D1", "action": action, "version": "2.0.0"}
        offered = re.findall(r'name="action" value="(\w+)"', operator.get("device?id=D1").body.decode())
        assert action in offered
        assert operator.post("device", form).headers["location"] == "device?id=D1"
        assert overview.device(cloud.site, "D1")[field] == value
        actions.append(action)
    audited = [each["action"] for each in cloud.site.database.read(audit.newest, 100, "D1")]
    audited = [each.removeprefix("device.") for each in reversed(audited) if each != "device.new"]
    assert audited == [
        {"pin": "pinned", "unpin": "unpinned"}.get(action, action.rstrip("e") + "ed") for action in actions
    ]
    for form, said in (
        ({"id": "D1", "action": "pin", "version": "x"}, "version x"),
        ({"id": "D1", "action": "boom"}, "action boom"),
        ({"id": "D9", "action": "remove"}, "device D9"),
    ):
        reply = operator.post("device", form)
        assert reply.status in REFUSED and problem(reply).startswith(said)
