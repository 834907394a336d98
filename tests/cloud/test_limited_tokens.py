"""A token that is limited to products reveals and changes nothing of another product, by any operation or page.

Each operation and page gets requests about the own product, about the other product, and about none.
"""

import itertools
import json
import re
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from cloud_under_test import PRODUCT, call, esp_image
from ioto_tools.cloud.api import openapi
from ioto_tools.cloud.api.operations import OPERATIONS
from ioto_tools.cloud.http.errors import CloudError, Missing
from ioto_tools.cloud.operators import control, groups, operator_tokens, overview, webhooks
from ioto_tools.cloud.releases import deletion
from ioto_tools.cloud.releases.publish import new_product
from ioto_tools.cloud.storage.tables import metadata
from ioto_tools.cloud.web import pages
from starlette.routing import Mount
from web_session import Session

OTHER = "OTHERID77"
# All that is known about the other product contains one of these texts, which the own product does not contain.
MARKS = ("rival", "RIVALDEV", OTHER, "7.7.7", "secretsauce", "zebraprop")
VALUES = {  # of a path, query or body field: (about the own product, about the other one)
    "product": ("thermo", "rival"),
    "release": ("thermo@2.0.0", "rival@7.7.7"),
    "device": ("D1", "RIVALDEV"),
    "id": ("D1", "RIVALDEV"),
    "group": ("rivalgroup", "rivalgroup"),
    "token": ("spare", "rivaltoken"),
    "subject": ("D1", "RIVALDEV"),
    "policy": ("device.region == 'x'", "device.zebraprob == 1"),  # nearly a property of the other product
    "version": ("3.0.0", "3.0.1"),
    "pin": ("3.0.0", "3.0.1"),
    "state": ("failed", "failed"),
    "name": ("n1", "n2"),
    "scope": ("admin", "admin"),
    "move": ("pause", "pause"),
    "url": ("https://a.test/", "https://hooks.rival/"),
    "tokens": ("rotate", "revoke"),
    "q": ("D1", "RIVAL"),
    "property": ("region=x", "zebraprop=secretsauce"),
    "silent": ("no", "no"),
    "claimed": ("yes", "yes"),
    "older": ("0 secs", "0 secs"),
    "newer": ("1 day", "1 day"),
    "registered": ("1 day", "1 day"),
    "changed": ("1 day", "1 day"),
    "sort": ("seen", "seen"),
    "format": ("csv", "json"),
    "after": ("C", "C"),
}


def two_products(cloud):
    """Fill the site with two products; return the id of the other product's release."""
    cloud.publish("2.0.0")
    cloud.check_in("D1", cloud.device(), "1.0.0", region="x")
    new_product(cloud.site, "rival", OTHER)
    release = cloud.publish("7.7.7", esp_image(b"secretsauce"), product="rival")
    token = cloud.register("RIVALDEV", OTHER).json()["token"]
    fields = {"id": "RIVALDEV", "product": OTHER, "version": "1.0.0", "zebraprop": "secretsauce"}
    assert cloud.post("/tok/provision/update", fields, "bearer " + token).json()["version"] == "7.7.7"
    # The same id in both products.
    fields = {"id": "D1", "product": OTHER, "version": "1.0.0", "zebraprop": "secretsauce"}
    token = cloud.register("D1", OTHER).json()["token"]
    assert cloud.post("/tok/provision/update", fields, "bearer " + token).json()["version"] == "7.7.7"
    control.pin(cloud.site, "RIVALDEV", "7.7.7")
    control.pin(cloud.site, "D1", "2.0.0", "thermo")
    control.change_state(cloud.site, release["id"], "paused")
    groups.set_policy(cloud.site, "rivalgroup", "device.zebraprop == 'secretsauce'")
    webhooks.new(cloud.site, "https://hooks.rival/")
    operator_tokens.new(cloud.site, "rivaltoken", "read", products=["rival"])
    return release["id"]


def kept(cloud):
    """The rows of the other product and of the whole site, which no limited operator may change."""
    return cloud.site.database.read(_kept)


def _kept(conn):
    found = {}
    for table in metadata.sorted_tables:
        rows = conn.execute(sa.select(table)).mappings().all()
        if table.name in ("audit", "changes", "deliveries", "sessions", "operators", "link_keys", "counters"):
            continue  # written by allowed actions too
        if "product" in table.c:
            rows = [row for row in rows if row["product"] == OTHER]
        elif table.name == "products":
            rows = [row for row in rows if row["id"] == OTHER]
        elif "release" in table.c:
            other = set(conn.execute(sa.text("SELECT id FROM releases WHERE product = 'OTHERID77'")).scalars())
            rows = [row for row in rows if row["release"] in other]
        elif table.name == "tokens":
            other = set(conn.execute(sa.text("SELECT \"key\" FROM devices WHERE product = 'OTHERID77'")).scalars())
            rows = [row for row in rows if row["device"] in other]
        elif table.name == "image_deletions":
            continue
        found[table.name] = [dict(row) for row in rows]
    operators = conn.execute(sa.text("SELECT name, scope, products FROM operators ORDER BY name")).all()
    keys = conn.execute(sa.text("SELECT count(*) FROM link_keys")).scalar()
    return json.dumps({**found, "operators": [tuple(row) for row in operators], "keys": keys}, default=str)


def reveals(body, sent):
    """The marks of the other product in the response, unless the request contained them."""
    shown = body.decode(errors="replace")
    return [mark for mark in MARKS if mark in shown and mark not in sent]


def fields_of(schema, which):
    """A value for each field of a request: about the own product (0) or the other one (1)."""
    found = {}
    for name, kind in schema.items():
        value = VALUES.get(name, ("1", "1"))[which]
        if "enum" in kind and value not in kind["enum"]:
            value = kind["enum"][0]
        if kind["type"] == "integer":
            value = max(kind["minimum"], 1)
        found[name] = True if kind["type"] == "boolean" else value
    return found


def requests(operation, release):
    """Requests of an operation: with required fields only and with all fields, for all combinations of the products."""
    names = openapi.path_parameters(operation)
    required = {name: kind for name, kind in (operation.body or {}).items() if not kind.get("x-optional")}
    for which, query_which in itertools.product((0, 1), (None, 0, 1)):
        values = {name: VALUES.get(name, ("x", "x"))[which] for name in names}
        variants = [values] + ([{**values, "release": release}] if "release" in values and which else [])
        for found in variants:
            path = re.sub(r"\{(\w+)\}", lambda match: found[match[1]], operation.path)
            query = {} if query_which is None else fields_of(operation.query, query_which)
            needed = {n: k for n, k in operation.query.items() if not k.get("x-optional")}
            single = [{name: value} for name, value in query.items()]
            for some in [query, *single]:
                some = {**fields_of(needed, which), **some}
                for body in (fields_of(required, which), fields_of(operation.body or {}, which)):
                    yield path, some, body


@pytest.mark.sweep
@pytest.mark.parametrize("scope", operator_tokens.SCOPES)
def test_no_operation_reveals_or_changes_another_product(cloud, scope):
    release = two_products(cloud)
    token = operator_tokens.new(cloud.site, "limited", scope, products=["thermo"])["token"]
    cloud.app.state.operators.check = lambda key: None  # no limit of requests per minute
    before, statuses = kept(cloud), set()
    for operation in OPERATIONS:
        for path, query, body in requests(operation, release):
            raw = esp_image(b"own", 2000) if operation.upload else b"" if operation.body is None else json.dumps(body)
            sent = "%s %s %s" % (path, query, "" if operation.upload else body)
            reply = call(
                cloud.app,
                operation.method,
                openapi.PREFIX
                + path
                + "?"
                + urlencode({k: str(v).lower() if v is True else v for k, v in query.items()}),
                {"authorization": "bearer " + token},
                raw if isinstance(raw, bytes) else raw.encode(),
            )
            statuses.add(reply.status)
            assert reply.status in (200, 400, 403, 404, 409), (sent, reply.status, reply.body)
            assert not reveals(reply.body, sent), (operation.run.__name__, sent, reply.body[:2000])
            assert reply.status == 403 or not operation.whole_site, (operation.run.__name__, sent)
        assert kept(cloud) == before, operation.run.__name__
    assert {200, 403, 404} <= statuses
    assert call(cloud.app, "GET", "/metrics", {"authorization": "bearer " + token}).status == 403


def paths(method):
    mount = next(route for route in pages.ROUTES if isinstance(route, Mount))
    return [route.path[1:] for route in mount.routes if method in route.methods and "{" not in route.path]


QUERY = ("id", "product", "subject", "policy", "group", "q", "release", "version", "after", "name")


@pytest.mark.sweep
@pytest.mark.parametrize("scope", operator_tokens.SCOPES)
def test_no_page_reveals_or_changes_another_product(cloud, scope):
    release = two_products(cloud)
    operator = Session(cloud, "limited", scope, products=[PRODUCT])
    values = ("RIVALDEV", "D1", OTHER, "rival", release, "rival@7.7.7", "device.zebraprop == 'secretsauce'")
    before = kept(cloud)
    for page in paths("GET"):
        for query in [{}, *({name: value} for name in QUERY for value in values)]:
            query = {**query, "product": OTHER} if query.get("id") == "D1" else query
            reply = operator.get(page + "?" + urlencode(query))
            assert reply.status in (200, 303, 307, 400, 403, 404), (page, query, reply.status)
            assert not reveals(reply.body, str(query)), (page, query, reply.body)
    token = operator.form_token()
    actions = (
        "pin",
        "remove",
        "claim",
        "revoke",
        "cancelled",
        "resumed",
        "disable",
        "retry",
        "delete",
        "archive",
        "test",
    )
    for page in set(paths("POST")) - {"sign-in", "sign-out"}:
        for action, (id, product) in itertools.product(
            actions, ((release, OTHER), ("RIVALDEV", "rival"), ("D1", OTHER), (OTHER, OTHER), ("rival@7.7.7", "rival"))
        ):
            form = {"form": token, "action": action, "id": id, "product": product, "name": "rivalgroup"}
            form.update(version="7.7.7", policy="device.zebraprop == ''", revoke="rivaltoken", scope="admin", keep="1")
            reply = operator.send(page, form)
            assert reply.status in (303, 200, 400, 403, 404, 409), (page, form, reply.status)
            assert not reveals(reply.body, str(form)), (page, form, reply.body)
        assert kept(cloud) == before, page


def test_lists_contain_only_the_own_product(cloud):
    two_products(cloud)
    admin = operator_tokens.new(cloud.site, "admin", "admin")["token"]
    limited = operator_tokens.new(cloud.site, "limited", "read", products=["thermo"])["token"]
    both = operator_tokens.new(cloud.site, "both", "read", products=["thermo", OTHER, "rival"])

    def names(path, token, field):
        reply = call(cloud.app, "GET", openapi.PREFIX + path, {"authorization": "bearer " + token})
        return [each[field] for each in reply.json()]

    for path, field, own, everything in (
        ("/products", "name", ["thermo"], ["rival", "thermo"]),
        ("/releases", "version", ["2.0.0"], ["7.7.7", "2.0.0"]),
        ("/devices", "id", ["D1"], ["D1", "D1", "RIVALDEV"]),
    ):
        assert names(path, limited, field) == own
        assert names(path, admin, field) == names(path, both["token"], field) == everything
    assert both["products"] == ["rival", "thermo"]
    # The same id in another product is not ambiguous for a limited token.
    headers = {"authorization": "bearer " + limited}
    assert call(cloud.app, "GET", openapi.PREFIX + "/devices/D1", headers).json()["product"] == "thermo"
    own = {"device.pinned", "product.new", "release.published"}
    assert set(names("/audit", limited, "action")) == own and names("/audit", limited, "subject").count("D1") == 1
    assert len(names("/audit?limit=1", limited, "action")) == 1


def test_audit_of_an_earlier_product_of_the_same_name_is_not_shown(cloud):
    new_product(cloud.site, "spare", "S1")
    cloud.register("OLD", "S1")
    control.remove(cloud.site, "OLD")
    deletion.delete_product(cloud.site, "spare")
    cloud.now_s += 10
    new_product(cloud.site, "spare", "S2")
    token = operator_tokens.new(cloud.site, "limited", "read", products=["spare"])["token"]
    rows = call(cloud.app, "GET", openapi.PREFIX + "/audit", {"authorization": "bearer " + token}).json()
    assert [(row["action"], row["at_s"]) for row in rows] == [("product.new", cloud.now_s)]


def test_a_limited_token_still_works_on_its_product(cloud):
    two_products(cloud)
    token = operator_tokens.new(cloud.site, "limited", "admin", products=["thermo"])["token"]
    headers = {"authorization": "bearer " + token}

    def ask(method, path, body=None):
        raw = b"" if body is None else json.dumps(body).encode()
        return call(cloud.app, method, openapi.PREFIX + path, headers, raw).status

    image = esp_image(b"3", 3000)
    assert (
        call(cloud.app, "POST", openapi.PREFIX + "/products/thermo/releases?version=3.0.0", headers, image).status
        == 200
    )
    assert ask("PATCH", "/releases/thermo@3.0.0", {"limit": "5"}) == 200
    assert ask("PATCH", "/devices/D1", {"pin": "3.0.0"}) == 200
    assert ask("POST", "/devices", {"id": "D9", "product": "thermo"}) == 200
    assert ask("POST", "/devices", {"id": "D9", "product": "rival"}) == 404
    assert ask("DELETE", "/devices/D1") == 200
    assert overview.device(cloud.site, "D1", "rival")["removed"] is False
    assert ask("DELETE", "/releases/thermo@3.0.0") == 200
    found = overview.updates(cloud.site, "rival")
    assert [each["version"] for each in found] == ["7.7.7"]


def test_warnings_about_a_policy_do_not_name_properties_of_another_product(cloud):
    two_products(cloud)
    form = {"policy": "device.version < update.version && device.zebraprob == 1"}
    assert "is zebraprop meant?" in Session(cloud).post("policy-check", form).body.decode()
    shown = Session(cloud, "limited", products=[PRODUCT]).post("policy-check", form).body.decode()
    assert "no known device has sent the property zebraprob" in shown and "zebraprop" not in shown


def test_unknown_products_are_refused(cloud):
    with pytest.raises(Missing, match="product nix: not found"):
        operator_tokens.new(cloud.site, "limited", "read", products=["thermo", "nix"])
    with pytest.raises(CloudError, match="at least one product"):
        operator_tokens.new(cloud.site, "limited", "read", products=[])
    assert operator_tokens.listed(cloud.site) == []


@pytest.mark.sweep
def test_command_and_page(cloud, ioto):
    data = "--data", "site"
    made = ioto("token", "new", "ci", "--scope", "publish", "--product", "thermo", *data).stdout
    assert made.startswith("token of ci, for publish of thermo: ioto_")
    assert json.loads(ioto("token", "list", "--json", *data).stdout)[0]["products"] == ["thermo"]
    assert "thermo" in ioto("token", "list", *data).stdout
    operator = Session(cloud)
    page = operator.post("tokens", {"name": "web", "scope": "read", "products": " thermo  PRODUCT7 "}).body.decode()
    assert operator_tokens.listed(cloud.site)[-1]["products"] == ["thermo"] and "ioto_" in page
    assert operator.post("tokens", {"name": "web2", "scope": "read", "products": "nix"}).status == 404
    operator.post("tokens", {"name": "web3", "scope": "read", "products": " "})
    assert operator_tokens.listed(cloud.site)[-1]["products"] is None
    limited = Session(cloud, "limited", "admin", products=[PRODUCT])
    body = limited.get("products").body.decode()
    assert (
        'href="tokens"' not in body and "New product" not in body and 'href="tokens"' in operator.get("").body.decode()
    )
