"""The longest and largest values of the tables on both databases; only PostgreSQL checks lengths."""

import json

import pytest
from cloud_under_test import call
from ioto_tools.cloud.api import openapi
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.operators import control, operator_tokens, overview
from ioto_tools.cloud.rules import selection
from ioto_tools.cloud.storage import audit, migrate, queries

BOTH = True
NAME = "n" * 64


def test_the_longest_operator_name_fits_into_the_audit_log(cloud):
    token = operator_tokens.new(cloud.site, NAME, "admin")["token"]
    body = json.dumps({"name": "other"}).encode()
    assert call(cloud.app, "POST", openapi.PREFIX + "/products", {"Authorization": "bearer " + token}, body).status in (
        200,
        201,
    )
    [row] = cloud.site.database.read(audit.newest, 1)
    assert (row["action"], row["who"]) == ("product.new", "operator " + NAME)
    cloud.site.database.write(migrate.to, "0006")  # in this revision, the column is too short for the name
    cloud.site.database.write(migrate.up)
    [row] = cloud.site.database.read(audit.newest, 1)
    assert row["who"].startswith(("operator " + NAME)[:64])


def test_times_after_2038(cloud):
    cloud.now_s = 2**31 + 5
    operator_tokens.new(cloud.site, "forever", "read", 1 << 40)
    token = cloud.device()
    cloud.publish("2.0.0", start="2038-02-01", end="2100-01-01", rate="1", period="1 hour")
    assert cloud.check_in("D1", token, "1.0.0").json() == {}
    cloud.now_s += 30 * 86400
    update = cloud.check_in("D1", token, "1.0.0").json()["update"]
    assert cloud.report("D1", token, update).status == 200 and cloud.check_in("D1", token, "2.0.0").json() == {}
    control.pin(cloud.site, "D1", "2.0.0")
    assert overview.device(cloud.site, "D1")["reports"][0]["received_s"] == cloud.now_s
    control.remove(cloud.site, "D1")
    assert overview.update(cloud.site, update)["states"] == {"confirmed": 1}


def test_an_image_larger_than_2_gib(cloud):
    row = cloud.site.database.read(queries.release, cloud.publish("2.0.0")["id"])
    large = {**row, "id": "x" * 26, "version": "3.0.0", "precedence": "3.0.0", "size": 3 << 30}
    cloud.site.database.write(queries.add_release, large)
    assert overview.update(cloud.site, "thermo@3.0.0")["size"] == 3 << 30


def test_the_longest_version_is_accepted_and_a_longer_one_refused(cloud):
    longest = "1.0.0-" + "a" * (selection.VERSION_LENGTH - 6)
    update = cloud.publish(longest)["id"]
    token = cloud.device()
    control.pin(cloud.site, "D1", longest)
    assert cloud.check_in("D1", token, "0.9.0").json()["update"] == update
    assert (
        cloud.report("D1", token, update, version=longest).status == 200
        and cloud.check_in("D1", token, longest).status == 200
    )
    for refused in (lambda: cloud.publish(longest + "a"), lambda: control.pin(cloud.site, "D1", longest + "a")):
        with pytest.raises(CloudError, match="128 characters"):
            refused()


@pytest.mark.parametrize("trace", ["", "\U0001f600" * 250])
def test_a_failure_with_the_longest_values(cloud, trace):
    update, id = cloud.publish("2.0.0")["id"], "\U0001f600" * 128
    token = cloud.device(id)
    assert cloud.check_in(id, token, "1.0.0").json()["update"] == update
    said = {"reason": "\U0001f600" * 250, "details": {"trace": trace, "reset": "brownout"}}
    assert cloud.report(id, token, update, False, state="rolled_back", attempt=99, **said).status == 200
    assert cloud.check_in(id, token, "9" * 128, failure={"log": "\0" * 2000}).status == 200
    [group] = overview.release_failures(cloud.site, update)
    assert (len(group["reason"]), len(group["cause"])) == (64, 200 if trace else len("reset: brownout"))
    assert len(overview.device(cloud.site, id)["failures"]) == 2
