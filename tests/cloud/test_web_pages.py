"""Each page shows and does the same as the functions behind it, and shows errors; tested without a server."""

import asyncio
import html
import json
import re
from collections import Counter

import pytest
from cloud_under_test import PRODUCT, Reply, esp_image
from ioto_tools.cloud import policy
from ioto_tools.cloud.operators import control, operator_tokens, overview
from ioto_tools.cloud.releases import publish as publishing
from ioto_tools.cloud.rollout import progress_samples
from ioto_tools.cloud.rollout.lifecycle import MOVES
from ioto_tools.cloud.rules import selection, update_states
from ioto_tools.cloud.storage.tables import audit, releases
from ioto_tools.cloud.web import releases as release_pages
from web_session import REFUSED, Session, multipart, problem, text


@pytest.fixture
def operator(cloud):
    return Session(cloud)


def set_row(conn, table, id, **values):
    conn.execute(table.update().where(table.c.id == id).values(values))


# ---- products


def test_products_are_listed_and_created(cloud, operator):
    assert operator.post("products", {"name": "gate", "id": "G8"}).headers["location"] == "product?id=G8"
    assert [each["name"] for each in overview.products(cloud.site)] == ["gate", "thermo"]
    assert "gate G8 0 0 thermo PRODUCT7 0 0" in text(operator.get("products"))
    for name in ("gate", "", "a b", "ä", "x" * 65, "<script>"):
        reply = operator.post("products", {"name": name}, hx_request="true")
        if name != "<script>":
            assert reply.status in REFUSED and problem(reply).startswith("product ")
            assert reply.headers["hx-retarget"] == "#problem"
    assert b"<script>" not in operator.get("products").body and b"&lt;script&gt;" in operator.get("products").body


def test_empty_states(cloud, operator):
    assert "No release of thermo has been published yet." in text(operator.get("product?id=thermo"))
    assert "No device has registered yet" in text(operator.get("devices"))
    assert "No matching devices." in text(operator.get("devices?id=x"))
    assert "The product has no devices yet." in text(operator.post("dry-run", {"product": PRODUCT, "version": "1.0.0"}))
    cloud.device("D1")
    assert "No release of its product has been published." in text(operator.get("device?id=D1"))
    assert "The device has not been offered an update yet." in text(operator.get("device?id=D1"))
    assert "No entries." in text(operator.get("audit?subject=nothing"))


# ---- a release


def test_release_shows_the_states_of_its_devices(cloud, operator):
    release = cloud.publish("1.1.0")
    wanted = Counter()
    for n, state in enumerate([*update_states.REPORTS, None, None]):
        token = cloud.device("D%d" % n)
        assert cloud.check_in("D%d" % n, token, "1.0.0").json()["update"] == release["id"]
        if state:
            cloud.report("D%d" % n, token, release["id"], state == "confirmed", state=state, attempt=1)
        wanted[state or "offered"] += 1
    page, part = operator.get("release?id=" + release["id"]), operator.get("progress?id=" + release["id"])
    for reply in (page, part):
        assert "Offered to 10 devices" in text(reply)
        for state, n in wanted.items():
            assert "%s %d" % (state.replace("_", " "), n) in text(reply)
    now = json.loads(html.unescape(re.search(r"data-now='([^']*)'", part.body.decode())[1]))
    assert now == {"at_s": cloud.now_s, "confirmed": 1, "under_way": 5, "deferred": 1, "bad": 2, "past": 1}
    shares = [float(width) for width in re.findall(r'width="([\d.]+)" height="1"', part.body.decode())]
    assert shares == [10, 50, 10, 20, 10]


def test_every_device_state_has_a_group_and_a_colour():
    grouped = [state for of in release_pages.GROUPS.values() for state in of]
    assert sorted(grouped) == sorted(update_states.STATES)
    assert set(release_pages.GROUPS["bad"]) == update_states.FAILURES
    styles = (
        release_pages.__file__.rpartition("/")[0] + "/static/page.css",
        release_pages.__file__.rpartition("/")[0] + "/static/page.js",
    )
    css, script = (open(path).read() for path in styles)
    for name in (*update_states.STATES, *selection.RELEASE_STATES):
        assert "." + name + "::before" in css or name in release_pages.GROUPS["past"], name
    red = re.search(r"^(.*) { background: var\(--bad\)", css, re.M)[1]
    assert all(("." + name + "::before" in red) == (name in update_states.FAILURES) for name in update_states.STATES)
    assert re.findall(r'^  \["(\w+)", "', script, re.M) == list(release_pages.GROUPS)


@pytest.mark.sweep
def test_release_offers_exactly_the_actions_its_state_allows(cloud, operator):
    release = cloud.publish("1.1.0")
    for state in selection.RELEASE_STATES:
        for enabled in (True, False):
            values = {"state": state, "enabled": enabled}
            cloud.site.database.write(lambda conn: set_row(conn, releases, release["id"], **values))
            offered = set(
                re.findall(r'name="action" value="(\w+)"', operator.get("release?id=" + release["id"]).body.decode())
            )
            allowed = {action for action, states in MOVES.items() if state in states} - {"stopped"}
            assert offered == allowed | (set() if state == "cancelled" else {"disable" if enabled else "enable"})
            for action in [*MOVES, "enable", "disable", "nonsense"]:
                cloud.site.database.write(lambda conn: set_row(conn, releases, release["id"], **values))
                reply = operator.post("release", {"id": release["id"], "action": action})
                found = overview.update(cloud.site, release["id"])
                if action in ("enable", "disable") and state == "cancelled":
                    assert reply.status == 409 and found["enabled"] == enabled
                elif action in ("enable", "disable"):
                    assert reply.status == 303 and found["enabled"] == (action == "enable")
                elif action in allowed:
                    assert reply.status == 303 and found["state"] == MOVES[action][state]
                else:
                    assert (
                        reply.status in REFUSED
                        and problem(reply)
                        and (found["state"], found["enabled"]) == (state, enabled)
                    )


def test_page_shows_that_another_operator_changed_the_release(cloud, operator):
    release = cloud.publish("1.1.0")
    poll = html.unescape(
        re.search(r'hx-get="(progress[^"]*)"', operator.get("release?id=" + release["id"]).body.decode())[1]
    )
    said = b"data-changed", b"reload the page"
    assert not any(each in operator.get(poll).body for each in said)
    for change in ("paused", "resumed"):
        control.change_state(cloud.site, release["id"], change)
        reply = operator.get(poll)
        assert all(each in reply.body for each in said)
        assert (
            html.unescape(re.search(r'hx-get="(progress[^"]*)"', reply.body.decode())[1]) == poll
        )  # until the page is reloaded


def test_audit_links_to_its_subjects(cloud, operator):
    release = cloud.publish("1.1.0")
    cloud.device("D1")
    control.remove(cloud.site, "D1")
    body = operator.get("audit").body.decode()
    for link in ("release?id=" + release["id"], "device?id=D1&amp;product=thermo", "product?id=" + PRODUCT):
        assert 'href="%s"' % link in body and operator.get(html.unescape(link)).status == 200, link


def test_form_keeps_the_seconds_of_start_and_end(cloud, operator):
    release = cloud.publish("1.1.0", start="2027-03-01T08:00:05Z", end="2027-03-02T09:10:11Z")
    body = operator.get("release?id=" + release["id"]).body.decode()
    fields = dict(re.findall(r'name="(start|end)" type="datetime-local" step="1" value="([^"]*)"', body))
    assert fields == {"start": "2027-03-01T08:00:05", "end": "2027-03-02T09:10:11"}
    assert operator.post("terms", {"id": release["id"], "limit": "5", **fields}).status == 303
    found = overview.update(cloud.site, release["id"])["terms"]
    assert (found["start"][:19], found["end"][:19], found["limit"]) == (*fields.values(), 5)


def test_rollout_is_changed_and_empty_fields_mean_no_limit(cloud, operator):
    release = cloud.publish("1.1.0")
    form = {
        "policy": "major < 2",
        "limit": "500",
        "percentage": "25%",
        "rate": "10",
        "period": "1 hour",
        "start": "2027-03-01T08:00",
        "end": "2027-04-01T08:00",
        "stop": "5% after 20",
        "age": "90 secs",
    }
    told = {"kind": "security", "notes": "a <b>\nc", "advisory": "https://a.test/x"}
    told["no_defer_after"] = "2027-05-01T00:00:00Z"
    sent = {**form, **told, "no_defer_after": "2027-05-01T00:00"}
    assert operator.post("terms", {"id": release["id"], **sent}).status == 303
    assert b'<a href="https://a.test/x" rel="noreferrer">' in operator.get("release?id=" + release["id"]).body
    found = overview.update(cloud.site, release["id"])["terms"]
    moments = {"start": "2027-03-01T08:00:00Z", "end": "2027-04-01T08:00:00Z"}
    assert found == {
        **form,
        **moments,
        "limit": 500,
        "percentage": 25.0,
        "rate": 10,
        "period": "1 hour",
        "stages": None,
        "gate": None,
        **told,
    }
    fields = dict(
        re.findall(
            r'<input name="(\w+)"[^>]* value="([^"]*)"', operator.get("release?id=" + release["id"]).body.decode()
        )
    )
    kept = {"policy": "major < 2", "kind": "security", "notes": told["notes"]}  # not in an <input>
    assert operator.post("terms", {"id": release["id"], **fields, **kept}).status == 303
    assert overview.update(cloud.site, release["id"])["terms"] == found  # the unchanged form changes nothing
    for name, wrong in (
        ("limit", "0"),
        ("percentage", "101"),
        ("rate", "x"),
        ("period", "soon"),
        ("start", "x"),
        ("end", "2020-01-01"),
        ("stop", "x"),
        ("policy", "major <"),
        ("kind", "urgent"),
        ("notes", "x" * 501),
        ("advisory", "javascript:alert(1)"),
        ("no_defer_after", "x"),
    ):
        reply = operator.post("terms", {"id": release["id"], **form, name: wrong}, hx_request="true")
        assert reply.status in REFUSED and problem(reply).startswith(name), problem(reply)
        assert overview.update(cloud.site, release["id"])["terms"] == found
    assert operator.post("terms", {"id": release["id"]}).status == 303
    found = overview.update(cloud.site, release["id"])["terms"]
    assert found == {
        **dict.fromkeys(found),
        "policy": policy.DEFAULT_POLICY,
        "percentage": 100.0,
        "age": "none",
        "kind": "feature",
    }


# ---- the chart


def test_chart_data(cloud, operator):
    release = cloud.publish("1.1.0")
    cloud.site.database.write(progress_samples.take, cloud.now_s)
    begun, wanted = cloud.now_s, []
    for n in range(5):
        cloud.now_s += progress_samples.EVERY_S
        cloud.check_in("D%d" % n, cloud.device("D%d" % n), "1.0.0")
        for _ in range(2):  # an unchanged state adds no row
            cloud.site.database.write(progress_samples.take, cloud.now_s)
            cloud.now_s += 1
        wanted.append(n + 1)
    found = operator.get("samples?id=" + release["id"]).json()
    assert found["under_way"] == wanted + [5] and found["bad"] == [0] * 6
    assert found["at_s"] == sorted(found["at_s"]) and found["at_s"][0] > begun and found["at_s"][-1] == cloud.now_s


def test_number_of_samples_is_limited(cloud, monkeypatch):
    monkeypatch.setattr(progress_samples, "MOST", 64)
    release = cloud.publish("1.1.0")["id"]

    def many(conn):
        for n in range(1, 3 * progress_samples.MOST):
            counts = json.dumps({"now": {"confirmed": n}})
            set_row(conn, releases, release, counts=counts, taken=n)
            progress_samples.take(conn, cloud.now_s + n)
            if n % 17 == 0 or n > 3 * progress_samples.MOST - 3:
                rows = progress_samples.of(conn, release)
                assert (
                    len(rows) <= progress_samples.MOST
                    and rows[0][1] == {"confirmed": 1}
                    and rows[-1] == (cloud.now_s + n, {"confirmed": n})
                )
                assert [at_s for at_s, _ in rows] == sorted(at_s for at_s, _ in rows)

    cloud.site.database.write(many)


# ---- publishing


def upload(operator, image=None, name="i.bin", **fields):
    form = {"form": operator.form_token(), "product": PRODUCT, "version": "1.1.0", "description": "", **fields}
    body, kind = multipart(form, image, name)
    headers = {
        "origin": "http://cloud.test:8080",
        "content-type": kind,
        "cookie": operator.cookie,
        "hx-request": "true",
    }
    headers["content-length"] = str(len(body))
    return asyncio.run(
        _uploaded(operator.cloud.app, headers, [body[at : at + 5000] for at in range(0, len(body), 5000)])
    )


async def _uploaded(app, headers, pieces):
    """Upload `pieces`, in an event loop because uploaded files are closed in a thread."""
    sent, pieces = [], iter(pieces)

    async def receive():
        piece = next(pieces, b"")
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    async def send(message):
        sent.append(message)

    raw = [(b"host", b"cloud.test:8080")] + [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/web/publish",
        "query_string": b"",
        "root_path": "",
    }
    await app({**scope, "headers": raw}, receive, send)
    return Reply(sent[0]["status"], sent[0]["headers"], [message.get("body", b"") for message in sent[1:]])


def test_release_is_published(cloud, operator):
    reply = upload(
        operator, esp_image(b"new", 40_000), description="quieter", policy="major < 2", limit="5", by_hand="on"
    )
    found = overview.updates(cloud.site)[0]
    assert (reply.status, reply.headers["hx-redirect"]) == (200, "release?id=" + found["update"])
    assert (found["version"], found["size"], found["description"], found["state"]) == (
        "1.1.0",
        40_000,
        "quieter",
        "awaiting",
    )
    assert (found["terms"]["policy"], found["terms"]["limit"]) == ("major < 2", 5)
    assert cloud.site.images.open(found["checksum"]).read(50_000) == esp_image(b"new", 40_000)
    assert (
        upload(operator, esp_image(b"new", 40_000)).headers["hx-redirect"] == reply.headers["hx-redirect"]
    )  # a second time: the same release
    assert len(overview.updates(cloud.site)) == 1


def test_invalid_releases_are_not_published(cloud, operator):
    image = esp_image(b"new", 40_000)
    for wrong, said in (
        ({"image": None}, "image: choose a file"),
        ({"image": image, "name": ""}, "image: choose a file"),
        ({"image": b""}, "the file is empty"),
        ({"image": b"x" * 5000, "name": "<b>.bin"}, "<b>.bin: it cannot be published"),
        ({"image": image[:-1]}, "it cannot be published"),
        ({"image": image, "version": "1.x"}, "version 1.x"),
        ({"image": image, "product": "nothing"}, "product nothing"),
        ({"image": image, "policy": "major <"}, "policy: line 1, column 8"),
        ({"image": image, "rate": "5"}, "rate 5"),
        ({"image": image, "group": "nobody"}, "group nobody"),
    ):
        reply = upload(operator, **wrong)
        assert reply.status in REFUSED and said in problem(reply), (wrong, problem(reply))
        assert b"<b>" not in reply.body and overview.updates(cloud.site) == []
    assert upload(operator, b"x" * 5000, any_file="on").headers["hx-redirect"].startswith("release?id=")


POLICIES = (
    "", "major < 2", "device.version <", "major = 1", "(major < 2", "'a", "a &&\n b ||\n", "major < 2)", "é == 1",
    "device['a'", "x" * 1999, "a == 'é' && é",
)  # fmt: skip


@pytest.mark.parametrize("wrong", POLICIES)
def test_policy_is_checked_while_it_is_written(operator, wrong):
    reply = operator.post("policy-check", {"policy": wrong})
    assert reply.status == 200
    try:
        policy.compile(wrong)
    except policy.PolicyError as e:
        assert problem(reply) == str(e)
        line, caret = html.unescape(
            re.search(r'<pre class="caret"[^>]*>(.*?)</pre>', reply.body.decode(), re.S)[1]
        ).split("\n")[-2:]
        assert caret == " " * (e.column - 1) + "^" and line == (wrong.split("\n")[e.line - 1])
    else:
        assert b"problem" not in reply.body and (b"Valid policy" in reply.body or b"notice" in reply.body)


def add_devices(cloud, n):
    for i in range(n):
        region = ("eu", "us-west")[i % 2]
        cloud.check_in("D%04d" % i, cloud.device("D%04d" % i), ("1.0.0", "2.0.0", "x")[i % 3], region=region, n=i)


@pytest.mark.sweep
def test_dry_run_in_slices_equals_one_dry_run(cloud, operator, monkeypatch, tmp_path):
    add_devices(cloud, 70)
    (tmp_path / "i.bin").write_bytes(esp_image(b"new"))
    said = {"policy": "device.version < update.version && n < 40"}
    whole = publishing.dry_run(cloud.site, tmp_path / "i.bin", "thermo", "1.1.0", said=said)
    monkeypatch.setattr("ioto_tools.cloud.web.publishing.SLICE", 20)
    monkeypatch.setattr(overview, "PAGE", 10)
    form, slices = {"product": PRODUCT, "version": "1.1.0", **said}, 0
    while slices < 10:
        reply = operator.post("dry-run", form)
        slices += 1
        more = re.search(r"hx-vals='([^']*)'", reply.body.decode())
        if not more:
            break
        assert "Checked %d devices so far" % (20 * slices) in text(reply)
        form = json.loads(html.unescape(more[1]))
    assert slices == 4 and sum(each["count"] for each in whole["found"].values()) == whole["devices"] == 70
    assert "%d of 70 stored devices would be offered the release" % whole["found"]["offered"]["count"] in text(reply)
    rows = re.findall(
        r'<tr><td>(.*?)</td><td class="n"[^>]*>(\d+)</td>\s*<td[^>]*>(.*?)</td>', reply.body.decode(), re.S
    )
    assert [(int(n), re.findall(r"id=(D\d+)&amp;product=", examples)) for _, n, examples in rows] == [
        (each["count"], each["examples"]) for each in whole["found"].values()
    ]


def test_dry_run_with_invalid_progress_or_fields(operator):
    for so_far in (
        "",
        "x",
        "[]",
        "{}",
        '{"devices": 1}',
        '{"devices": "x", "after": "", "found": {}}',
        '{"devices": 1, "after": "", "found": []}',
        '{"devices": 1, "after": "", "found": {"offered": 1}}',
    ):
        reply = operator.post("dry-run", {"product": PRODUCT, "version": "1.1.0", "so_far": so_far})
        assert reply.status in REFUSED and problem(reply) == "dry run: its progress was lost: start it again"
    for form, said in (
        ({"product": PRODUCT, "version": ""}, "version"),
        ({"version": "1.0.0"}, "product"),
        ({"product": PRODUCT, "version": "1.0.0", "policy": "("}, "policy: line 1"),
    ):
        reply = operator.post("dry-run", form)
        assert reply.status in REFUSED and problem(reply).startswith(said)
    assert "write alpha.11" in text(operator.post("dry-run", {"product": PRODUCT, "version": "1.0.0-alpha11"}))


# ---- tokens and audit


def test_token_is_shown_once_and_revoked(cloud, operator):
    reply = operator.post("tokens", {"name": "ci", "scope": "publish", "lifetime": "90 days"})
    token = re.search(r"ioto_[\w-]+", text(reply))[0]
    assert token not in text(operator.get("tokens")) and "ci publish" in text(operator.get("tokens"))
    ci = Session(cloud, "x", "read")
    assert ci.sign_in(token).status == 303 and ci.get("").status == 200
    assert ci.get("tokens").status == 403 and "yours has the scope publish" in text(ci.get("tokens"))
    assert operator.post("tokens", {"revoke": "ci"}).status == 200
    assert ci.get("").status == 303 and [each["name"] for each in operator_tokens.listed(cloud.site)] == ["jo", "x"]
    for form in (
        {"name": "jo", "scope": "read"},
        {"name": "a b", "scope": "read"},
        {"name": "y", "scope": "god"},
        {"name": "y", "scope": "read", "lifetime": "x"},
        {"revoke": "nobody"},
    ):
        reply = operator.post("tokens", form, hx_request="true")
        assert reply.status in REFUSED and problem(reply)
    assert len(operator_tokens.listed(cloud.site)) == 2


def test_audit_is_paged_and_shows_the_operator(cloud, operator):
    def many(conn):
        for n in range(125):
            conn.execute(
                audit.insert().values(
                    at_s=n, who="w%d" % n, action="group.set", subject=("S", "T")[n % 2], detail='{"n": "<i>"}'
                )
            )

    cloud.site.database.write(many)
    for subject, wanted in (("S", range(124, -1, -2)), ("T", range(123, -1, -2)), ("none", [])):
        page, found = "audit?subject=" + subject, []
        while page and len(found) <= 125:
            reply = operator.get(page)
            found += [int(n) for n in re.findall(r'data-label="Who">w(\d+)<', reply.body.decode())]
            more = re.search(r'<a href="([^"]*)" rel="next"', reply.body.decode())
            page = more and html.unescape(more[1])
        assert found == list(wanted) and b"<i>" not in reply.body
    release = cloud.publish("1.1.0")
    operator.post("release", {"id": release["id"], "action": "paused"})
    assert "jo release.paused" in text(operator.get("audit")) and "jo release.paused" in text(
        operator.get("release?id=" + release["id"])
    )
