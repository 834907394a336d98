"""Policies in both dialects: names, nested properties, operator precedence, evaluation and explanations."""

import pytest
from example_policies import EXAMPLE, HOLDS, HOLDS_NOT
from ioto_tools.cloud import policy

DEVICE = {
    "id": "K1",
    "version": "1.2.3-rc.1",
    "region": "us-west",
    "pro": "true",
    "memory": "512",
    "try-beta-features": True,
    "modem": {"name": "BG95", "bands": [3, 8], "sim": {"iccid": "8988'\""}},
    "device": {"x": 1},
    "newVersion": "0.0.1",
    "true": 5,
}
UPDATE = {
    "version": "1.10.0",
    "product": "thermo",
    "size": 1640800,
    "description": "quieter radio",
    "notes": {"a b": 1},
}


@pytest.mark.parametrize("text", HOLDS)
def test_policy_holds(text):
    assert policy.compile(text)(DEVICE, UPDATE) is True


@pytest.mark.parametrize("text", HOLDS_NOT)
def test_policy_does_not_hold(text):
    assert policy.compile(text)(DEVICE, UPDATE) is False


def test_lone_surrogate_does_not_hide_other_characters():
    """JSON can contain a lone surrogate, UTF-8 cannot."""
    for text, holds in (
        ("a =~ /x/", False),
        ("a != /x/", True),
        ("b =~ /^x/", True),
        ("b == /x$/", False),
        ("b =~ /y$/", True),
    ):
        assert policy.compile(text)({"a": "\ud800", "b": "x\udfffy"}, {}) is holds, text


@pytest.mark.parametrize("text", ["", " ", "\n\t\r\n", "\u00a0\ufeff"[:1]])
def test_blank_policy_selects_all_devices(text):
    assert policy.compile(text)({}, {}) is True
    assert policy.compile(text).explain({}, {}) == []


def test_numbers_of_the_version_are_names():
    for name, number in (("major", 4), ("minor", 5), ("patch", 6)):
        holds = policy.compile("%s == %d" % (name, number))
        assert holds({"version": "4.5.6-rc.1+x"}, {}) and holds({"version": "9.9.9", name: str(number)}, {})
        for version in ("4.5", "", None, 4, ["4.5.6"], {}):
            assert not holds({"version": version}, {})
            assert policy.compile(name + " == null")({"version": version}, {})
        assert policy.compile(name + " == null")({}, {})


def test_device_cannot_set_the_version_of_the_update():
    assert policy.compile("newVersion == '2.0.0'")({"newVersion": "1.0.0"}, {"version": "2.0.0"})


def test_evaluation_stops_when_the_result_is_known():
    class RecordingDict(dict):
        def get(self, key):
            asked.append(key)
            return dict.get(self, key)

    for text, wanted in (
        ("a == 1 || b == 1", ["a"]),
        ("a == 2 && b == 1", ["a"]),
        ("a == 1 && (b == 1 || c == 1)", ["a", "b"]),
        ("a == 2 && b == 1 && c == 1", ["a"]),
        ("a == 1 || b == 1 || c == 1", ["a"]),
    ):
        asked = []
        policy.compile(text)(RecordingDict(a=1, b=1), {})
        assert asked == wanted, text


def test_same_text_is_compiled_once():
    assert policy.compile(EXAMPLE) is policy.compile(EXAMPLE)
    assert policy.compile(EXAMPLE).text == EXAMPLE


def test_explain_lists_every_term_in_the_order_of_the_text():
    explained = policy.compile(EXAMPLE).explain({"version": "1.0.0", "region": "eu"}, {"version": "1.1.0"})
    assert explained == [
        {
            "term": "device.version < update.version",
            "holds": True,
            "values": {"device.version": "1.0.0", "update.version": "1.1.0"},
        },
        {"term": "device.region == 'us-west'", "holds": False, "values": {"device.region": "eu"}},
        {"term": "device.pro == true", "holds": False, "values": {"device.pro": None}},
    ]


def test_explain_has_the_text_of_each_kind_of_term():
    text = "!(a) && (b == 1) == true\n|| semver( version,'<', '2.0.0' ) && /x/ == c || (d && !e) != (1) || 'f'"
    explained = policy.compile(text).explain({"version": "1.0.0", "a": 0, "b": 1, "d": True}, {})
    assert [(each["term"], each["holds"]) for each in explained] == [
        ("(a)", False), ("(b == 1) == true", True), ("b == 1", True), ("semver( version,'<', '2.0.0' )", True),
            ("/x/ == c", False),
        ("(d && !e) != (1)", False), ("d", True), ("e", False), ("'f'", True),
    ]  # fmt: skip
    assert explained[1]["values"] == {} or explained[1]["values"] == {"b": 1}
    assert explained[5]["values"].keys() <= {"d", "e"}


def test_properties_that_a_policy_may_read():
    for text, wanted in (
        ("device.a && b || device['c d'].e == f.g", {"a", "b", "c d", "f"}),
        ("update.a == 1 && newVersion > '1.0.0'", set()),
        ("", set()),
        ("major > 1", {"major", "version"}),
        ("device.major > 1", {"major"}),
        ("semver(version, '<', newVersion)", {"version"}),
        ("device", None),
        ("newVersion.x == 1", {"newVersion"}),
        ("x && !device", None),
    ):
        assert policy.compile(text).properties == wanted, text
