"""Both dialects: what names stand for, how they nest, precedence of the operators, and what a policy keeps."""

import pytest
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
UPDATE = {"version": "1.10.0", "product": "thermo", "size": 1640800, "description": "quieter radio", "notes": {"a b": 1}}
EXAMPLE = "device.version < update.version && (device.region == 'us-west' || device.pro == true)"

HOLDS = [
    EXAMPLE,
    "major >= 1 && memory >= 256",
    'semver(version, "<", newVersion)',
    "semver ( device.version , '<' , '1.2.3' )",
    "semver('1.0.0','==','1.0.0+b')",
    "major == 1 && minor === 2 && patch == 3",
    "device.version < newVersion && newVersion === update.version",
    "device['try-beta-features']",
    "device [ \"try-beta-features\" ] == true",
    "device . modem\n.\tname == 'BG95'",
    "device['modem']['sim'].iccid == '8988\\'\"'",
    "modem.sim['iccid'] ^= \"8988'\"",
    "modem.bands >< 8 && modem.bands <> 9",
    "device.device.x == 1",
    "update.notes['a b'] == 1 && update.size > 1e6",
    "device.modem && update.notes && device",
    "device.major == null && device.newVersion === '0.0.1'",
    "modem.name.length == null && modem.sim.iccid.x.y == null && update.x == null",
    "!device.missing && !(device.missing == 1) && !(device.missing != 1)",
    "!device.pro == false && !device.memory != true && !missing === true",
    "(device.pro || 1) == true",
    "true || nothing == 1 && false",
    "!(false && true || false)",
    "id == 'K1' || x == y",
    "-1.5e1 == -15 && '\\u0041\\x42\\u{43}\\n' === 'ABC\\x0a'",
    "'\\ud83d\\ude00' == '\U0001f600'",
    "region =~ '^us-(west|east)$' && region =~ /^US/i && region == /west$/ && /us/ == region && region != /eu/",
    "region $= 'west' && region $!= 'east' && region ^!= 'eu' && region >< 's-w' && region <> 'x'",
    "device['true'] == 5 && true.x == null && device.true == 5",
    "'a/b' =~ /a\\/b/ && 'a/b' =~ /^[a/]+b$/",
    "'1\\\\d' =~ '\\\\\\\\d$' && '15' =~ '^\\\\d+$'",
    "modem.name.constructor == null && device.__class__ == null && device.get == null",
]
HOLDS_NOT = [
    "device.missing =~ 'x'", "device.missing != /x/", "memory =~ /^\\d{4}$/", "modem =~ /./", "region =~ 'West'",
    "region == /WEST/", "device.version >= '1.2'", "major == '1.0.0'", "missing", "device.pro == 2", "semver(version, '<', region)",
    "semver(memory, '<', 1024)", "false || false", "null", "''", "'0'", "'false'", "0", "device.try == device.beta",
]  # fmt: skip


@pytest.mark.parametrize("text", HOLDS)
def test_holds(text):
    assert policy.compile(text)(DEVICE, UPDATE) is True


@pytest.mark.parametrize("text", HOLDS_NOT)
def test_does_not_hold(text):
    assert policy.compile(text)(DEVICE, UPDATE) is False


def test_half_a_character_hides_nothing_beside_it():
    """JSON can send one, UTF-8 cannot write it."""
    for text, holds in (("a =~ /x/", False), ("a != /x/", True), ("b =~ /^x/", True), ("b == /x$/", False), ("b =~ /y$/", True)):
        assert policy.compile(text)({"a": "\ud800", "b": "x\udfffy"}, {}) is holds, text


@pytest.mark.parametrize("text", ["", " ", "\n\t\r\n", "\u00a0\ufeff"[:1]])
def test_blank_is_everybody(text):
    assert policy.compile(text)({}, {}) is True
    assert policy.compile(text).explain({}, {}) == []


def test_numbers_of_the_version():
    for name, number in (("major", 4), ("minor", 5), ("patch", 6)):
        holds = policy.compile("%s == %d" % (name, number))
        assert holds({"version": "4.5.6-rc.1+x"}, {}) and holds({"version": "9.9.9", name: str(number)}, {})
        for version in ("4.5", "", None, 4, ["4.5.6"], {}):
            assert not holds({"version": version}, {})
            assert policy.compile(name + " == null")({"version": version}, {})
        assert policy.compile(name + " == null")({}, {})


def test_the_update_s_version_is_not_the_device_s_to_say():
    assert policy.compile("newVersion == '2.0.0'")({"newVersion": "1.0.0"}, {"version": "2.0.0"})


def test_evaluation_stops_where_the_answer_is_known():
    class Watched(dict):
        def get(self, key):
            asked.append(key)
            return dict.get(self, key)

    for text, wanted in (("a == 1 || b == 1", ["a"]), ("a == 2 && b == 1", ["a"]), ("a == 1 && (b == 1 || c == 1)", ["a", "b"]),
                         ("a == 2 && b == 1 && c == 1", ["a"]), ("a == 1 || b == 1 || c == 1", ["a"])):  # fmt: skip
        asked = []
        policy.compile(text)(Watched(a=1, b=1), {})
        assert asked == wanted, text


def test_compiled_once():
    assert policy.compile(EXAMPLE) is policy.compile(EXAMPLE)
    assert policy.compile(EXAMPLE).text == EXAMPLE


def test_explain_tells_every_term_in_the_order_of_the_text():
    told = policy.compile(EXAMPLE).explain({"version": "1.0.0", "region": "eu"}, {"version": "1.1.0"})
    assert told == [
        {"term": "device.version < update.version", "holds": True, "values": {"device.version": "1.0.0", "update.version": "1.1.0"}},
        {"term": "device.region == 'us-west'", "holds": False, "values": {"device.region": "eu"}},
        {"term": "device.pro == true", "holds": False, "values": {"device.pro": None}},
    ]


def test_explain_has_the_text_of_every_kind_of_term():
    text = "!(a) && (b == 1) == true\n|| semver( version,'<', '2.0.0' ) && /x/ == c || (d && !e) != (1) || 'f'"
    told = policy.compile(text).explain({"version": "1.0.0", "a": 0, "b": 1, "d": True}, {})
    assert [(each["term"], each["holds"]) for each in told] == [
        ("(a)", False), ("(b == 1) == true", True), ("b == 1", True), ("semver( version,'<', '2.0.0' )", True), ("/x/ == c", False),
        ("(d && !e) != (1)", False), ("d", True), ("e", False), ("'f'", True),
    ]  # fmt: skip
    assert told[1]["values"] == {} or told[1]["values"] == {"b": 1}
    assert told[5]["values"].keys() <= {"d", "e"}


def test_the_properties_that_a_policy_may_read():
    for text, wanted in (
        ("device.a && b || device['c d'].e == f.g", {"a", "b", "c d", "f"}), ("update.a == 1 && newVersion > '1.0.0'", set()), ("", set()),
        ("major > 1", {"major", "version"}), ("device.major > 1", {"major"}), ("semver(version, '<', newVersion)", {"version"}), ("device", None),
        ("newVersion.x == 1", {"newVersion"}), ("x && !device", None),
    ):  # fmt: skip
        assert policy.compile(text).properties == wanted, text
