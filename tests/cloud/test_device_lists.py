"""Lists of devices: filters, in comparison with a reference; orders; pages of any size; exports."""

import csv
import io
import itertools
import json
import re

import pytest
import sqlalchemy as sa
from cloud_under_test import PRODUCT, ROOT, call
from ioto import semver
from ioto_tools.cloud.api import openapi
from ioto_tools.cloud.http.errors import CloudError, Missing
from ioto_tools.cloud.lists import device_filter, device_list, export
from ioto_tools.cloud.operators import control, groups, operator_tokens, overview
from ioto_tools.cloud.releases import publish as publishing
from ioto_tools.cloud.storage.tables import devices
from web_session import Session, problem, text

DAY_S = 24 * 3600
VERSIONS = ("1.9.0", "1.10.0", "1.10.0-rc.1", "odd", "1.2.0+b")
STATES = (None, "downloading", "failed", "confirmed")
N = 26


@pytest.fixture
def fleet(cloud):
    """N devices of two products, which differ in everything that a filter may name."""
    publishing.new_product(cloud.site, "gate", "GATE")
    groups.set_policy(cloud.site, "hall", "room == 'hall'")
    cloud.update = cloud.publish("2.0.0")["id"]
    start_s, cloud.rows = cloud.now_s, []
    for n in range(N):
        cloud.now_s = start_s + n // 2 * 7200
        cloud.rows.append(_device(cloud, n))
    cloud.now_s = start_s + 3 * DAY_S
    control.remove(cloud.site, cloud.rows.pop()["id"])
    for row in cloud.rows:
        if row["n"] % 7 == 3:
            control.unclaim(cloud.site, row["id"], row["product"])
        row["claimed"] = row["n"] % 7 != 3
    return cloud


def _device(cloud, n):
    id, product = ("a/%02d" if n % 4 else "B%%_%02d") % (n - n % 3), ("thermo", "gate")[n % 3 == 1]
    key = {"thermo": PRODUCT, "gate": "GATE"}[product]
    id += "x" if n % 3 == 2 else ""
    token = cloud.register(id, key).json()["token"]
    row = {"n": n, "id": id, "product": product, "registered_s": cloud.now_s, "seen_s": None, "version": None}
    row |= {"next_s": (3600, DAY_S, None)[n % 3], "state": None, "reason": "", "properties": {}}
    if n % 5 != 4:
        row["properties"] = {"room": ("hall", "roof")[n % 2], "heap": n * 100, "net": {"rssi": -n}}
        fields = {"id": id, "version": VERSIONS[n % 5], **row["properties"]}
        fields |= {"next": row["next_s"]} if row["next_s"] else {}
        reply = cloud.post("/tok/provision/update", fields, "bearer " + token)
        assert reply.status == 200
        row |= {"seen_s": cloud.now_s, "version": VERSIONS[n % 5]}
        if reply.json().get("update"):
            row |= _report(cloud, n, id, token)
    return row


def _report(cloud, n, id, token):
    state, reason = STATES[n % 4], "selftest_failed: no sensor" if n % 8 == 2 else "trial_timeout"
    if state is None:
        return {"state": "offered"}
    fields = {"reason": reason} if state == "failed" else {}
    cloud.report(id, token, cloud.update, state != "failed", state=state, attempt=1, **fields)
    return {"state": state, "reason": reason if state == "failed" else ""}


def silent(row, now_s):
    interval_s = row["next_s"] or 25 * 3600
    late = row["seen_s"] is not None and now_s > row["seen_s"] + interval_s + max(interval_s // 4, 3600)
    return row["claimed"] and late


def sent(row, name):
    return row["properties"].get(name)


# {parameter: {value: reference(row, update, now)}}
FILTERS = {
    "product": {
        "thermo": lambda row, now_s: row["product"] == "thermo", "GATE": lambda row, now_s: row["product"] == "gate",
    },
    "id": {
        "a/1": lambda row, now_s: row["id"].startswith("a/1"), "B%_": lambda row, now_s: row["id"].startswith("B%_"),
    },
    "q": {
        "%_1": lambda row, now_s: "%_1" in row["id"], "b": lambda row, now_s: "B" in row["id"],
        "\\": lambda row, now_s: False, "X": lambda row, now_s: "x" in row["id"],
    },
    "release": {"thermo@2.0.0": lambda row, now_s: row["state"] is not None},
    "state": {
        "failed": lambda row, now_s: row["state"] == "failed",
        "offered, confirmed": lambda row, now_s: row["state"] in ("offered", "confirmed"),
        "lost": lambda row, now_s: False,
    },
    "reason": {
        "selftest_failed": lambda row, now_s: row["reason"].startswith("selftest_failed:"),
        "trial_timeout": lambda row, now_s: row["reason"] == "trial_timeout", "selftest": lambda row, now_s: False,
        "none": lambda row, now_s: row["state"] is not None and not row["reason"],
    },
    "changed": {
        "60 hours": lambda row, now_s: row["state"] is not None and row["registered_s"] > now_s - 60 * 3600,
    },
    "version": {"1.10.0": lambda row, now_s: row["version"] == "1.10.0"},
    "silent": {"yes": silent, "no": lambda row, now_s: not silent(row, now_s)},
    "older": {"60 hours": lambda row, now_s: (row["seen_s"] or row["registered_s"]) < now_s - 60 * 3600},
    "newer": {"60 hours": lambda row, now_s: (row["seen_s"] or 0) >= now_s - 60 * 3600},
    "registered": {"60 hours": lambda row, now_s: row["registered_s"] > now_s - 60 * 3600},
    "claimed": {"yes": lambda row, now_s: row["claimed"], "no": lambda row, now_s: not row["claimed"]},
    "group": {"hall": lambda row, now_s: sent(row, "room") == "hall"},
    "property": {
        "room=roof": lambda row, now_s: sent(row, "room") == "roof",
        "room!=hall": lambda row, now_s: sent(row, "room") == "roof",
        "heap>=900": lambda row, now_s: (sent(row, "heap") or 0) >= 900,
        "net.rssi < -12": lambda row, now_s: sent(row, "net") is not None and row["n"] > 12,
    },
    "policy": {"heap > 500": lambda row, now_s: (sent(row, "heap") or 0) > 500},
}  # fmt: skip


def single(name, value):
    return {"release": "thermo@2.0.0", name: value} if name in ("state", "changed") else {name: value}


CONDITIONS = [(name, value) for name, values in FILTERS.items() for value in values]
PAIRS = [{}, *(single(*each) for each in CONDITIONS)]
PAIRS += [single(*a) | single(*b) for a, b in itertools.combinations(CONDITIONS, 2) if a[0] != b[0]]


def expected(rows, said, now_s):
    tests = [FILTERS[name][value] for name, value in said.items()]
    return sorted((row["id"], row["product"]) for row in rows if all(test(row, now_s) for test in tests))


def listed(site, said, most=1000):
    """The devices of all pages as [(id, product)]."""
    wanted, found, after = device_filter.parse(site, said), [], ""
    while after is not None:
        page = device_list.page(site, wanted, after, most)
        found += [(row["id"], row["product"]) for row in page["devices"]]
        after = page["after"]
    return found


def counted(site, said):
    wanted, n, after = device_filter.parse(site, said), 0, ""
    while after is not None:
        found = device_list.count(site, wanted, after)
        n, after = n + found["found"], found["after"]
    return n


def test_every_condition(fleet):
    for said in PAIRS[: 1 + len(CONDITIONS)]:
        assert sorted(listed(fleet.site, said)) == expected(fleet.rows, said, fleet.now_s), said
    empty = [
        name
        for name, values in FILTERS.items()
        if not any(expected(fleet.rows, single(name, each), fleet.now_s) for each in values)
    ]
    assert empty == []  # each parameter was tested with devices that match


@pytest.mark.sweep
def test_every_pair_of_conditions(fleet):
    for said in PAIRS:
        assert sorted(listed(fleet.site, said)) == expected(fleet.rows, said, fleet.now_s), said


@pytest.mark.sweep
def test_pages_of_any_size_have_each_device_once(fleet, monkeypatch):
    sizes = itertools.cycle([(1, 1), (3, 2), (2, 5), (1000, 4)])
    for (most, examined), said in zip(sizes, PAIRS[::9]):
        for name in ("MOST_EXAMINED", "MOST_COSTLY", "MOST_COSTLY_SORTED"):
            monkeypatch.setattr(device_list, name, examined)
        wanted = expected(fleet.rows, said, fleet.now_s)
        assert counted(fleet.site, said) == len(wanted), said
        for sort in device_filter.SORTS:
            assert sorted(listed(fleet.site, {**said, "sort": sort}, most)) == wanted, (said, sort)


def version_key(row):
    version = row["version"] or ""
    return (1, semver.parse(version)) if semver.is_valid(version) else (0, version)


def test_orders(fleet):
    keys = {"seen": lambda row: row["seen_s"] or -1, "first": lambda row: row["registered_s"], "version": version_key}
    rows = {(row["id"], row["product"]): row for row in fleet.rows}
    for name, key in keys.items():
        for (sort, descending), most in itertools.product(((name, False), ("-" + name, True)), (4, 1000)):
            found = [key(rows[each]) for each in listed(fleet.site, {"sort": sort}, most)]
            assert found == sorted(map(key, fleet.rows), reverse=descending), (sort, most)


INVALID = (
    ({"product": "none"}, "product none: not found"), ({"release": "none"}, "update none: not found"),
    ({"state": "failed"}, "state failed: of which update? Add release"),
    ({"release": "thermo@2.0.0", "state": "failed,broken"}, "state broken: expected: one of offered"),
    ({"silent": "1"}, "silent 1: expected: yes or no"), ({"claimed": "true"}, "claimed true: expected: yes or no"),
    ({"changed": "1 day"}, "changed 1 day: of which update? Add release"),
    ({"release": "thermo@2.0.0", "changed": "long"}, "changed long: not a duration"),
    ({"older": "long"}, "older long: not a duration"), ({"newer": "-1"}, "newer -1: not a duration"),
    ({"registered": "1 fortnight"}, "registered 1 fortnight: not a duration"),
    ({"group": "none"}, "group none: not found"), ({"property": "room"}, "property room: expected: a name, one of ="),
    ({"policy": "room =="}, "policy: line 1, column 8"), ({"sort": "size"}, "sort size: expected: one of id"),
    ({"q": "a\0"}, "q: expected: text without NUL"), ({"q": "\ud800"}, "q: expected: text without NUL"),
    ({"q": "x" * 2001}, "q: expected: at most 2000 characters"),
)  # fmt: skip


def test_invalid_parameters_are_named(cloud):
    cloud.publish("2.0.0")
    for said, words in INVALID:
        with pytest.raises(CloudError, match=re.escape(words)) as raised:
            device_filter.parse(cloud.site, said)
        assert isinstance(raised.value, Missing) == ("not found" in words)


NOT_POSITIONS = (
    "x", "[]", "[1]", "[1, 2]", '["x", 1]', '[1e99, "a"]', '[true, "a"]', '[1, "\\u0000"]', '[1, "\\ud800"]',
    "[" * 5000,
    '[%d, "a"]' % 2**70, '["\\u0000", "a"]', '["\\ud800", ""]',
)  # fmt: skip


def test_invalid_positions_are_named(cloud):
    for sort, after in itertools.product(("seen", "-first", "version"), NOT_POSITIONS):
        with pytest.raises(CloudError, match="^after .*: expected: the position"):
            device_list.page(cloud.site, device_filter.parse(cloud.site, {"sort": sort}), after)


def test_too_many_devices_or_versions_for_an_order(fleet, monkeypatch):
    monkeypatch.setattr(device_list, "MOST_SORTED", 10)
    with pytest.raises(CloudError, match="sort seen: more than 10 devices: choose a product"):
        listed(fleet.site, {"sort": "seen"})
    assert listed(fleet.site, {"sort": "seen", "product": "gate"})
    assert listed(fleet.site, {"sort": "seen", "release": fleet.update, "state": "failed"})
    monkeypatch.setattr("ioto_tools.cloud.lists.device_order.MOST_VERSIONS", 2)
    with pytest.raises(CloudError, match="sort version: the devices run more than 2 versions"):
        listed(fleet.site, {"sort": "version", "product": "gate"})


def test_the_work_of_a_page_is_bounded(fleet, monkeypatch):
    """A page that matches nothing examines so many devices by an index, and no other."""
    monkeypatch.setattr(device_list, "MOST_EXAMINED", 5)
    monkeypatch.setattr(device_list, "MOST_COSTLY", 3)
    for said, most in (({"version": "none"}, 5), ({"property": "a=b"}, 3), ({"reason": "other"}, 3)):
        page = device_list.page(fleet.site, device_filter.parse(fleet.site, said))
        assert page["devices"] == [] and page["looked"] == most
        assert page["after"] == sorted(row["id"] for row in fleet.rows)[most - 1]


@pytest.mark.sweep
@pytest.mark.only_in_folder  # with few rows, PostgreSQL scans every table
def test_no_list_scans_offers_or_reports(fleet):
    """Their number grows with time; the number of devices is bounded by the windows."""
    engine, asked = fleet.site.database.transactions.reading, []
    note = lambda conn, cursor, statement, parameters, context, many: asked.append((statement, parameters))
    sa.event.listen(engine, "before_cursor_execute", note)
    for name, value in CONDITIONS:
        for sort in device_filter.SORTS[:4]:
            wanted = device_filter.parse(fleet.site, {**single(name, value), "sort": sort})
            device_list.page(fleet.site, wanted)
            device_list.count(fleet.site, wanted)
    sa.event.remove(engine, "before_cursor_execute", note)
    with engine.connect() as conn:
        plans = {sql: conn.exec_driver_sql("EXPLAIN QUERY PLAN " + sql, values).all() for sql, values in asked}
    steps = [row[3] for plan in plans.values() for row in plan]
    assert any("ix_grants_stands" in step for step in steps)
    assert [step for step in steps if re.match("SCAN (grants|reports)", step)] == []


# ---- the page and the API


def test_page_shows_the_filter_and_each_count_is_a_link_to_its_list(fleet):
    operator = Session(fleet)
    page = operator.get("devices?release=%s&state=failed&reason=trial_timeout&older=1+min" % fleet.update)
    body = page.body.decode()
    for shown in ('value="failed"', 'value="trial_timeout"', 'value="1 min"', "<details open>"):
        assert shown in body
    found = set(re.findall(r'<a href="device\?id=([^&]*)', body))
    assert found == {row["id"].replace("/", "%2F") for row in fleet.rows if row["reason"] == "trial_timeout"}
    for from_page in ("release?id=" + fleet.update, "product?id=" + PRODUCT):
        links = re.findall(r'<a href="(devices\?[^"]*state=[^"]*)">(.*?)</a>', operator.get(from_page).body.decode())
        assert len(links) >= 3
        for link, words in links:
            n = int(re.search(r"\d+", re.sub(r"<[^>]*>", "", words))[0])
            assert len(re.findall('<a href="device\\?', operator.get(link.replace("&amp;", "&")).body.decode())) == n
    assert "registered=1+day" not in operator.get("products").body.decode()
    fleet.register("NEW")
    assert "devices?product=%s&amp;registered=1+day" % PRODUCT in operator.get("products").body.decode()


def test_page_counts_the_list(fleet, monkeypatch):
    operator, said = Session(fleet), "claimed=yes"
    n = len(expected(fleet.rows, {"claimed": "yes"}, fleet.now_s))
    assert "device-count?" + said in operator.get("devices?" + said).body.decode()
    assert text(operator.get("device-count?" + said)) == "%d devices" % n
    monkeypatch.setattr(device_list, "MOST_EXAMINED", 10)
    page = operator.get("device-count?" + said)
    while more := re.search(r'hx-get="([^"]*)"', page.body.decode()):
        page = operator.get(more[1].replace("&amp;", "&"))
    assert text(page) == "%d devices" % n
    monkeypatch.setattr("ioto_tools.cloud.web.devices.MOST_COUNTED", 5)
    found = text(operator.get("device-count?" + said))
    assert re.fullmatch("More than [0-9]+ devices", found)


def test_invalid_filter_on_the_page(cloud):
    reply = Session(cloud).get("devices?older=long")
    assert reply.status == 400 and "older long: not a duration" in problem(reply) and b'value="long"' in reply.body
    assert Session(cloud, "jane").get("devices?product=none").status == 404


def request(cloud, token, query):
    return call(cloud.app, "GET", openapi.PREFIX + "/devices" + query, {"authorization": "bearer " + token})


@pytest.mark.sweep
def test_api_has_the_same_filters_and_a_link_to_the_next_page(fleet):
    token = operator_tokens.new(fleet.site, "jo", "read")["token"]
    for sort in ("id", "-seen", "version"):
        query, found = "?limit=3&claimed=yes&sort=%s&q=A%%2F" % sort, []
        while query:
            reply = request(fleet, token, query)
            found += [(row["id"], row["product"]) for row in reply.json()]
            more = re.fullmatch('<(.*)>; rel="next"', reply.headers.get("link", ""))
            query = more and more[1]
        assert found == listed(fleet.site, {"claimed": "yes", "sort": sort, "q": "a/"})
    reply = request(fleet, token, "?release=thermo@2.0.0&state=failed")
    assert {row["update"]["state"] for row in reply.json()} == {"failed"} and "link" not in reply.headers
    assert request(fleet, token, "?state=failed").status == 400 and request(fleet, token, "?product=x").status == 404


# ---- exports


def test_exports_have_the_whole_list(fleet, monkeypatch):
    monkeypatch.setattr(export, "PIECE", 4)
    operator, token = Session(fleet), operator_tokens.new(fleet.site, "program", "read")["token"]
    for said in ({"q": "none"}, {"sort": "-seen"}):
        query = "&".join("%s=%s" % each for each in said.items())
        wanted = listed(fleet.site, said)
        for kind in ("csv", "json"):
            from_page = operator.get("device-export?format=%s&%s" % (kind, query))
            from_api = request(fleet, token, "?format=%s&%s" % (kind, query))
            assert from_page.status == from_api.status == 200 and from_page.body == from_api.body
            assert from_page.headers["content-disposition"] == 'attachment; filename="devices.%s"' % kind
            assert from_page.headers["content-type"] == from_api.headers["content-type"] == export.FORMATS[kind]
            if kind == "csv":
                first, *rows = csv.reader(io.StringIO(from_page.body.decode(), newline=""))
                assert tuple(first) == export.COLUMNS and [(row[0], row[1]) for row in rows] == wanted
            else:
                assert [(row["id"], row["product"]) for row in from_page.json()] == wanted
    assert wanted and len(from_page.chunks) > 3  # it is sent piece by piece
    for query in ("format=xml", "format=csv&older=x"):
        assert operator.get("device-export?" + query).status == 400
        assert request(fleet, token, "?" + query).status == 400


def test_a_spreadsheet_does_not_evaluate_a_cell(cloud):
    cloud.check_in("D1", cloud.device("D1"), "1.0.0")
    for begin in ("=", "+", "-", "@", "\t", "\r", "\n"):
        formula = begin + "cmd|' /C calc'!A0"
        cloud.site.database.write(lambda conn: conn.execute(sa.update(devices).values(version=formula)))
        body = b"".join(export.export(cloud.site, device_filter.parse(cloud.site, {}), "csv").pieces).decode()
        row = list(csv.reader(io.StringIO(body, newline="")))[1]
        assert row[2].replace("\n'", "\n") == "'" + formula and row[0] == "D1"


def test_a_separator_within_a_cell_begins_no_formula(cloud):
    """Where the decimal separator is a comma, spreadsheets separate the cells of a CSV file by semicolons."""
    cloud.check_in("D1", cloud.device("D1"), "1.0.0")
    for version, wanted in (
        ("a;=1+1", "a;'=1+1"), ("a\t@x", "a\t'@x"), ("a\r\n-1\r\n+2", "a\r\n'-1\r\n'+2"), ("a; b;c", "a; b;c"),
        ('a"\n;,b', 'a"\n;,b'), ("1.0.0-rc.1+b", "1.0.0-rc.1+b"),
    ):  # fmt: skip
        cloud.site.database.write(
            lambda conn, version=version: conn.execute(sa.update(devices).values(version=version))
        )
        body = b"".join(export.export(cloud.site, device_filter.parse(cloud.site, {}), "csv").pieces).decode()
        rows = list(csv.reader(io.StringIO(body, newline="")))
        assert len(rows) == 2 and rows[1][2] == wanted


def test_an_export_hides_what_the_page_hides(cloud):
    """With scope `read`, the id of a product is replaced by its name."""
    cloud.check_in("D1", cloud.device("D1"), "1.0.0", note=PRODUCT)
    cloud.check_in("secret-" + PRODUCT, cloud.device("secret-" + PRODUCT), "1.0.0")
    for scope in ("read", "admin"):
        operator = Session(cloud, scope, scope)
        for kind in ("csv", "json"):
            shown = PRODUCT.encode() in operator.get("device-export?format=" + kind).body
            assert shown == (scope == "admin"), (scope, kind)


def test_a_failure_in_the_middle_ends_the_export_and_is_logged(cloud, monkeypatch, caplog):
    monkeypatch.setattr(export, "PIECE", 1)
    operator, read = Session(cloud), device_list.page
    for id in ("D1", "D2", "D3"):
        cloud.register(id)
    broken = []

    def page(*arguments):
        if broken:
            raise OSError("the disk is gone")
        broken.append(1)
        return read(*arguments)

    monkeypatch.setattr(device_list, "page", page)
    with pytest.raises(RuntimeError, match="response already started"):
        operator.get("device-export?format=csv")
    assert "the disk is gone" in caplog.text


@pytest.mark.sweep
def test_commands(fleet, ioto):
    site = ("--data", fleet.folder / "site")
    found = json.loads(ioto("devices", *site, "--release", "thermo@2.0.0", "--state", "failed", "--json").stdout)
    assert [(row["id"], row["product"]) for row in found] == expected(fleet.rows, {"state": "failed"}, fleet.now_s)
    rows = list(csv.reader(io.StringIO(ioto("devices", *site, "--csv", "--sort", "first", "--q", "b").stdout)))
    assert [(row[0], row[1]) for row in rows[1:]] == listed(fleet.site, {"sort": "first", "q": "b"})
    assert "B%_00" in ioto("devices", *site, "--property", "room=hall").stdout
    refused = ioto("devices", *site, "--state", "failed", ok=False)
    assert refused.returncode == 1 and "of which update?" in refused.stderr
    assert "not both" in ioto("devices", *site, "--csv", "--json", ok=False).stderr
    assert overview.devices(fleet.site)


def test_documentation_explains_each_parameter():
    page = (ROOT / "docs" / "cloud.md").read_text().split("### Lists of devices")[1].split("\n### ")[0]
    assert dict(re.findall(r"^\| `--(\w+)` \| (.+) \|$", page, re.M)) == device_filter.PARAMETERS
