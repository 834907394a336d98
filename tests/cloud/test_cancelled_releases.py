"""Operations on a cancelled or archived release: each that could have no effect is refused, with the reason."""

import json

import pytest
from cloud_under_test import call, esp_image
from ioto_tools.cloud.http.errors import Conflict
from ioto_tools.cloud.lists import bulk, device_filter
from ioto_tools.cloud.operators import control, operator_tokens, overview
from ioto_tools.cloud.releases import deletion
from web_session import Session, problem

UPDATE = "thermo@2.0.0"
IMAGE = esp_image(b"2.0.0")
OPERATIONS = {
    "enable": lambda cloud: control.enable(cloud.site, UPDATE, True),
    "disable": lambda cloud: control.enable(cloud.site, UPDATE, False),
    "set": lambda cloud: control.set_terms(cloud.site, UPDATE, {"limit": "5"}),
    "advance": lambda cloud: control.advance(cloud.site, UPDATE),
    "hold": lambda cloud: control.hold(cloud.site, UPDATE, True),
    "unhold": lambda cloud: control.hold(cloud.site, UPDATE, False),
    "retry": lambda cloud: control.retry(cloud.site, UPDATE),
    "bulk retry": lambda cloud: bulk.prepare(
        cloud.site, device_filter.parse(cloud.site, {"release": UPDATE}), "retry"
    ),
    "publish": lambda cloud: cloud.publish("2.0.0", IMAGE),
}  # fmt: skip
ENDS = {
    "cancelled": lambda cloud: control.change_state(cloud.site, UPDATE, "cancelled"),
    "archived": lambda cloud: deletion.archive_release(cloud.site, UPDATE),
}


@pytest.fixture(params=ENDS)
def ended(request, cloud):
    """The word for the state of the release."""
    cloud.publish("2.0.0", IMAGE, stages="10% 1h, 50% 1h, 100%")
    ENDS[request.param](cloud)
    return request.param


def test_operations_without_an_effect_are_refused(cloud, ended):
    before = overview.update(cloud.site, UPDATE)
    for name, operation in OPERATIONS.items():
        with pytest.raises(Conflict, match="^thermo 2.0.0 is %s: publish a higher version instead$" % ended):
            operation(cloud)
        assert overview.update(cloud.site, UPDATE) == before, name


def test_the_api_answers_409(cloud, ended):
    token = operator_tokens.new(cloud.site, "op", "admin")["token"]
    headers = {"authorization": "bearer " + token, "content-type": "application/json"}
    moves = [("POST", "/move", {"move": move}) for move in ("approve", "resume", "cancel", "advance", "hold", "unhold")]
    changes = [("PATCH", "", {"enabled": True}), ("PATCH", "", {"limit": "5"}), ("POST", "/retry", {})]
    for method, path, body in (*moves, *changes):
        reply = call(cloud.app, method, "/api/v1/releases/" + UPDATE + path, headers, json.dumps(body).encode())
        assert reply.status == 409 and "thermo 2.0.0 is " in reply.json()["error"], (method, path, body)


def test_the_page_has_no_button_and_refuses_a_form_from_before(cloud, ended):
    operator, id = Session(cloud), overview.update(cloud.site, UPDATE)["update"]
    shown = operator.get("release?id=" + id).body.decode()
    assert 'action="release"' not in shown and 'action="terms"' not in shown
    for action in ("enable", "advance", "hold", "unhold", "retry"):
        assert ended in problem(operator.post("release", {"id": id, "action": action})), action
    assert ended in problem(operator.post("terms", {"id": id, "limit": "5"}))


@pytest.mark.sweep
def test_the_command_names_the_reason(cloud, ended, ioto):
    reply = ioto("updates", "enable", UPDATE, "--data", "site", ok=False)
    assert (
        reply.returncode == 1
        and reply.stderr == "Error: thermo 2.0.0 is %s: publish a higher version instead\n" % ended
    )
