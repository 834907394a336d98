"""What devices are told about a release: its kind, notes, advisory, and the date after which it is not postponed."""

import pytest
from device_actions import ask
from ioto.offer import about, offered
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.operators import control

NOTES = 'Fixes "url":"http://evil.test" and \\"version":"9.9.9"\n{}'
SECURITY = {
    "kind": "security", "notes": NOTES, "advisory": "https://example.com/advisory",
    "no_defer_after": "2027-03-01T08:00+01:00",
}  # fmt: skip
AT_S = 1803884400


def answer(cloud, id, **properties):
    ask(cloud, id, **properties)
    return cloud.check_in(id, cloud.tokens[id], "1.0.0", **properties)


def test_the_agent_is_told_and_other_clients_are_not(cloud):
    cloud.publish("2.0.0", **SECURITY)
    reply = answer(cloud, "D1", next=3600)
    told = reply.json()
    assert list(told) == [
        "url", "checksum", "update", "version", "size", "kind", "notes", "advisory", "noDeferAfter"
    ]  # fmt: skip
    assert about(told) == {
        "kind": "security", "notes": NOTES, "advisory": SECURITY["advisory"], "no_defer_after": AT_S
    }  # fmt: skip
    assert reply.body.count(b'"url":') == reply.body.count(b'"version":') == 1  # some clients search for these
    assert set(answer(cloud, "D2").json()) == {"url", "checksum", "update", "version", "size"}


def test_a_reply_with_the_longest_texts_is_accepted_by_the_agent(cloud):
    longest = {"kind": "security", "advisory": "https://" + "x" * 192, "no_defer_after": "9999-12-31"}
    for n, notes in enumerate(("\x22" * 500, "\u00e4" * 250, "\n".join("x" * 250))):
        cloud.publish("2.0.%d" % n, **longest, notes=notes)
        reply = answer(cloud, "D1", next=3600)
        assert len(reply.body) < 4096  # cloud.py's limit
        assert about(reply.json())["notes"] == notes.strip() and offered(reply.json())["ours"]


def test_what_is_not_said_is_not_sent_and_can_be_changed_and_removed(cloud):
    cloud.publish("2.0.0")
    extras = lambda: about(answer(cloud, "D1", next=3600).json())
    assert extras() == {}
    control.set_terms(cloud.site, "thermo@2.0.0", SECURITY)
    assert len(extras()) == 4
    with pytest.raises(CloudError, match="^no_defer_after: only a security release"):
        control.set_terms(cloud.site, "thermo@2.0.0", {"kind": "feature"})
    control.set_terms(cloud.site, "thermo@2.0.0", {"kind": "none", "no_defer_after": "none", "advisory": "none"})
    assert extras() == {"notes": NOTES}


def test_values_of_other_types_are_ignored_by_the_agent():
    """Another cloud may use these names."""
    for value in (None, 1, True, [], {}, ""):
        assert about(dict.fromkeys(("kind", "notes", "advisory"), value)) == {}
    for value in (None, True, 1.5, "1", [], {}):
        assert about({"noDeferAfter": value}) == {}
    long = about({"kind": "k" * 17, "notes": "n" * 501, "advisory": "a" * 201})
    assert {key: len(text) for key, text in long.items()} == {"kind": 16, "notes": 500, "advisory": 200}
