"""ioto.json and device.json: every key with valid and invalid values, every form of file, and helpful errors."""

import json

from config_files import Folder, error_of, nested, refused
from ioto import config, cron, zone
from ioto.config import DEFAULTS, ConfigError
from ioto.duration import FOREVER

NEEDED = {"builder": "https://builder.example"}
# key -> [(value in the file, value for the agent)]
GOOD = {
    "product": [("P1", "P1"), ("", "")],
    "version": [("1.2.3", "1.2.3"), ("0.0.1-rc.1+b", "0.0.1-rc.1+b")],
    "builder": [("http://b", "http://b"), ("https://b/api", "https://b/api")],
    "api": [("https://a.example", "https://a.example"), ("", "")],
    "registration.hosts": [
        ("", []),
        ("api.example", ["api.example"]),
        ([".example", "a.test"], [".example", "a.test"]),
    ],
    "token": [("t0k", "t0k")],
    "state": [("data", "data")],
    "timezone": [
        ("UTC", (0,)),
        ("+01:00", (3600,)),
        ("CET-1CEST,M3.5.0,M10.5.0/3", zone.parse("CET-1CEST,M3.5.0,M10.5.0/3")),
    ],
    "watchdog": [("never", FOREVER), (0, 0), ("30 secs", 30)],
    "log.level": [("error", "error"), ("debug", "debug")],
    "network.timeout": [(1, 1), ("1 day", 86400), ("20sec", 20)],
    "network.dns": [("", []), ("1.1.1.1", ["1.1.1.1"]), (["1.1.1.1", "", "::1"], ["1.1.1.1", "::1"]), ([], [])],
    "ntp.server": [("", ""), ("time.example", "time.example")],
    "ntp.period": [("6 hrs", 21600), ("never", FOREVER)],
    "services.update": [(True, True), (False, False)],
    "tls.ca": [("", []), ("there", ["there"]), ("@there", ["there"]), (["there", "there"], ["there", "there"])],
    "tls.cert": [("", "")],
    "tls.key": [("", ""), ("there", "there")],
    "tls.plain": [(True, True), (False, False)],
    "tls.verify": [(True, True), (False, False)],
    "trial.limit": [("10 mins", 600)],
    "trial.selftest": [(5, 5)],
    "update.schedule": [("* 2 * * *", cron.parse("* 2 * * *")), ("never", cron.parse("never"))],
    "update.apply": [("night", cron.parse("night"))],
    "update.period": [("24 hrs", 86400), (0, 0), ("forever", FOREVER)],
    "update.jitter": [("1 hour", 3600), (0, 0)],
    "update.throttle": [
        (0, 0),
        (60000, 60000),
        ("20", 20),
        ("20 ms", 20),
        ("20ms", 20),
        ("1 sec", 1000),
        ("1 min", 60000),
    ],
    "update.keys": [("", []), ("there", ["there"]), (["there", "", "@there"], ["there", "there"])],
    "update.alone": [("never", "never"), ("needed", "needed"), ("always", "always")],
    "update.attempts": [(1, 1), (100, 100)],
    "update.retry": [("1 min", 60)],
    "update.transport": [("asyncio", "asyncio"), ("urequests", "urequests")],
    "update.script": [("scripts/other", "scripts/other")],
    "update.slot": [("/dev/x", "/dev/x")],
    "update.slotSize": [(1, 1), (1 << 40, 1 << 40)],
    "wifi.ssid": [("net", "net")],
    "wifi.password": [("secret12", "secret12")],
    "wifi.hostname": [("board", "board")],
    "wifi.timeout": [("1 min", 60)],
}
# kind -> (refused values, the allowed values in the words of the error)
BAD = {
    "text": ((None, True, 1, 1.5, [], ["a"], {}), "a text in quotes"),
    "name": (("",), "not empty"),
    "version": (("", "1", "1.2", "v1.2.3", "1.2.3.4", "01.2.3"), "like 1.2.3 or 1.2.3-rc.1"),
    "url": (("builder.example", "ftp://x", "HTTPS//x", " http://x"), "must begin with https:// or http://"),
    "file": (("missing.pem", "@missing.pem"), "no such file"),
    "zone": ((None, 1, True, "", "Europe/Berlin", "CET-1CEST", "+25:00", "UTC+1"), "use UTC, +01:00"),
    "duration": ((None, True, -1, 1.5, [], {}, "", "1 fortnight", "-1 day", "1.5 hrs"), "NN secs|mins|hrs"),
    "limit": ((0, "0 secs", "never", "2 days", 86401), "from 1 second to 1 day"),
    "watchdog": (("1 sec", 29), "30 seconds or more"),
    "ms": ((None, True, -1, 1.5, [], {}, "", "ms", "-1 ms", "1.5 ms", 60001, "60001 ms", "61 secs", "never", "fast"),
    "milliseconds from 0 to 60000"),
    "window": ((None, True, 1, [], "", "sometimes", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *",
    "* * * * 8"), "use "),
    "bool": ((None, 0, 1, "true", "yes", [], {}), "true or false"),
    "texts": ((None, 1, True, {}, [1], ["a", None]), "a text or a list of texts"),
    "files": ((None, 1, True, {}, [1], ["there", None], "missing.pem", ["there", "missing.pem"]), ""),
}  # fmt: skip
VALUES = (
    None, True, False, 0, 1, -1, 3, 1.5, 100000, 1 << 41, "", "x", "1", "never", "1 hour", "UTC", "1.2.3", "http://x",
    "asyncio", "info", "* * * * *", "there", [], ["x"], [1],
)  # fmt: skip


def load(folder, flat):
    """config.load() of an ioto.json with these dotted keys; the text of the error if it is refused."""
    folder.write("ioto.json", json.dumps(nested(flat)))
    try:
        return config.load(folder.path)
    except ConfigError as e:
        return str(e)


def kinds(kind):
    """The names in BAD that apply to a kind of DEFAULTS."""
    if kind in ("name", "version", "url", "file"):
        return ("text", kind)
    return ("duration", kind) if kind in ("limit", "watchdog") else (kind,)


def test_every_key_accepts_valid_values():
    assert set(GOOD) == set(DEFAULTS)
    with Folder() as folder:
        for key, cases in GOOD.items():
            for value, expected in cases:
                flat = dict(NEEDED)
                flat[key] = value
                found = load(folder, flat)
                assert isinstance(found, dict), found
                assert found[key] == expected and isinstance(found[key], bool) == isinstance(expected, bool), (
                    key,
                    value,
                    found[key],
                )
                assert set(found) == set(DEFAULTS)


def test_defaults_are_valid():
    with Folder() as folder:
        plain = load(folder, NEEDED)
        for key, (default, _) in DEFAULTS.items():
            flat = dict(NEEDED)
            if key != "builder":
                flat[key] = default
            assert load(folder, flat) == plain, key


def test_every_key_refuses_invalid_values_with_a_message():
    with Folder() as folder:
        for key, (_, kind) in DEFAULTS.items():
            if isinstance(kind, tuple):
                cases = [
                    ((None, True, "1", 1.5, [], {}, kind[0] - 1, kind[1] + 1), "a whole number from %d to %d" % kind)
                ]
            else:
                cases = [BAD[k] for k in kinds(kind) if k in BAD] or [
                    BAD["text"],
                    (("", "loud"), "one of " + ", ".join(kind.split())),
                ]
            for values, allowed in cases:
                for value in values:
                    if (key, value) == ("api", {}):  # an empty object: the form of Ioto's own files
                        continue
                    flat = dict(NEEDED)
                    flat[key] = value
                    error = load(folder, flat)
                    secret = key in ("token", "wifi.password")
                    start = "%sioto.json: %s: %s" % (folder.path, key, "" if secret else json.dumps(value) + ": ")
                    assert isinstance(error, str) and error.startswith(start) and allowed in error, (key, value, error)


def test_invalid_cron_field_is_named():
    for value, says in (
        ("61 * * * *", "minute '61'"),
        ("* 24 * * *", "hour '24'"),
        ("* * 32 * *", "day of month '32'"),
        ("* * * 0 *", "month '0'"),
        ("* * * * x", "day of week 'x'"),
    ):
        refused(json.dumps({"update": {"apply": value}}), "update.apply: " + json.dumps(value), says, "use *, n, n-m")


def digest_of_every_key_with_every_value():
    """Both interpreters accept and refuse the same values, with the same messages."""
    import hashlib

    sha = hashlib.sha256()
    with Folder() as folder:
        for key in sorted(DEFAULTS):
            for value in VALUES:
                flat = dict(NEEDED)
                flat[key] = value
                found = load(folder, flat)
                text = found[len(folder.path) :] if isinstance(found, str) else repr(found[key])
                sha.update(("%s %r %s\n" % (key, value, text)).encode())
    return "".join("%02x" % b for b in sha.digest())


def test_unknown_keys_get_a_hint():
    refused('{"prodcut": "x"}', "prodcut: unknown key (product?)", "api", "product", "update", "wifi")
    refused(
        '{"update": {"shedule": "day"}}',
        "update.shedule: unknown key (update.schedule?); known keys: alone, apply, attempts",
        "schedule",
    )
    refused('{"services": {"updates": true}}', "services.updates: unknown key (services.update?); known keys: update")
    refused('{"update": {"apply": {"x": 1}}}', "update.apply: ", "not a window")
    refused('{"update.apply": "day"}', "update.apply: unknown key")
    for section in sorted(set(k.split(".")[0] for k in DEFAULTS if "." in k)):
        refused(json.dumps({section: {"x": 1}}), section + ".x: unknown key; known keys: ")
        for value in (1, "x", None, [], True):
            refused(
                json.dumps({section: value}),
                "%s: %s: use an object of %s." % (section, json.dumps(value), section),
            )


def test_keys_that_require_other_keys():
    refused("{}", "builder: needed to register: ", "or api and token")
    refused('{"api": "https://a"}', "builder: needed")
    refused('{"builder": "http://b", "tls": {"cert": "there"}}', "tls.key: required with tls.cert")
    with Folder() as folder:
        for flat in (
            {"services.update": False},
            {"api": "http://a", "token": "t"},
            {"builder": "http://b", "tls.cert": "there", "tls.key": "there"},
        ):
            assert isinstance(load(folder, flat), dict), flat


def test_secrets_are_not_in_messages():
    refused('{"wifi": {"password": 87654321}}', "wifi.password: a text in quotes")
    for text in ('{"wifi": {"password": 87654321}}', '{"token": [87654321]}'):
        with Folder(ioto_json=text) as folder:
            assert "87654321" not in error_of(config.load, folder)


def test_long_values_are_shortened_in_messages():
    with Folder() as folder:
        assert len(load(folder, {"update.apply": "x" * 9000})) < 300


IOTO = """
{
    version: '1.4.0', profile: 'dev', app: 'blinker',   // as Ioto's own agent has it
    api: { builder: 'https://builder.example/api', serialize: 'http://localhost:4100/serialize' },
    conditional: { profile: { dev: { log: { path: 'stdout' } }, prod: { optimize: 'release' } } },
    database: { path: '@db/device.db', maxJournalSize: '50k' },
    directories: { log: '.', state: 'state' },
    limits: { reprovision: 5, stack: 0x8000 },
    log: { path: 'stdout', format: '%S: %M', types: 'error,info', sources: 'all,!mbedtls', show: '' },
    mqtt: { authority: '@there', schedule: 'anytime' },
    services: { ai: false, database: true, keys: false, logs: false, mqtt: true, provision: true, register: true,
        serialize: 'auto', shadow: false, sync: true, update: true, url: true, web: false },
    scripts: { update: 'scripts/mine' },
    tls: { authority: '@there', certificate: '@there', key: '@there' },
    update: { enable: true, schedule: '* * * * *', period: '24 hr', jitter: 0, throttle: 0, apply: '* 2 * * *', },
}
"""


def test_file_of_ioto_itself():
    with Folder(ioto_json5=IOTO) as folder:
        found = config.load(folder.path)
        assert found["builder"] == "https://builder.example/api" and found["api"] == "" and found["version"] == "1.4.0"
        assert found["update.script"] == "scripts/mine" and found["update.period"] == 86400
        assert found["tls.ca"] == ["there"] and found["tls.cert"] == found["tls.key"] == "there"
        assert found["services.update"] is True
        for off in (IOTO.replace("enable: true", "enable: false"), IOTO.replace("update: true", "update: false")):
            folder.write("ioto.json5", off)
            assert config.load(folder.path)["services.update"] is False


def test_two_names_of_one_key_are_refused():
    refused('{"builder": "http://a", "api": {"builder": "http://b"}}', "builder: set by two keys: keep one of them")
    refused('{"tls": {"ca": "there", "authority": "there"}}', "tls.ca: set by two keys: keep one of them")


def test_dotted_and_nested_keys_are_equal():
    with Folder(ioto_json='{"builder": "http://b", "update": {"period": "2 days"}}') as folder:
        as_json = config.load(folder.path)
        folder.remove("ioto.json")
        folder.write("ioto.json5", "\ufeff{builder: 'http://b', update: {period: '2 days',},} // c")
        assert config.load(folder.path) == as_json and as_json["update.period"] == 172800


def test_unreadable_files_are_refused():
    refused("[1]", "not an object in braces")
    refused('"x"', "not an object in braces")
    refused("null", "not an object in braces")
    refused("", "line 1 column 1: expected a value")
    refused('{\n  "product": "x",\n  "api": y\n}', "line 3 column 10: expected a value")
    refused('{"product": "x', "line 1 column 15: unterminated string")
    refused("{'product': 'x'}", "this is JSON5: name the file .json5")
    refused('{"product": "x"} // c', "this is JSON5: name the file .json5")
    refused(b'{"product": "\xff\xfe"}', "not UTF-8")
    refused("{" + " " * 16384 + "}", "more than 16384 bytes")


def test_tolerated_forms():
    with Folder(ioto_json=b'\xef\xbb\xbf{"builder": "http://b", "product": "\xc3\xbc"}') as folder:
        assert config.load(folder.path)["product"] == "\u00fc"
        folder.write("ioto.json", '{"builder": "http://b"' + " " * 10000 + "}\r\n")
        assert config.load(folder.path)["builder"] == "http://b"


def test_json_beside_json5_is_refused():
    with Folder() as folder:
        for read, stem, least in (
            (config.load, "ioto", '{"builder": "https://..."'),
            (config.load_device, "device", '{"id": "auto"}'),
        ):
            error = error_of(read, folder)
            assert error.startswith(folder.path + stem + ".json: not found") and least in error, error
            folder.write(stem + ".json", "{}")
            folder.write(stem + ".json5", "{}")
            assert "%s.json5 exists too: keep one of them" % stem in error_of(read, folder)


def test_device_properties_are_unchanged():
    said = {
        "id": "auto",
        "pro": True,
        "floor": 3,
        "ratio": 0.5,
        "tags": ["a", {"b": None}],
        "name": "\u00fc",
        "version": "x",
    }
    with Folder(device_json=json.dumps(said)) as folder:
        assert config.load_device(folder.path) == said
        folder.remove("device.json")
        folder.write("device.json5", "{id: 'A1', floor: +3, /* c */ tags: ['a',],}")
        assert config.load_device(folder.path) == {"id": "A1", "floor": 3, "tags": ["a"]}


def test_device_ids():
    for text, fine in (
        ('{"id": "x"}', True),
        ('{"id": "%s"}' % ("x" * 64), True),
        ('{"id": "%s"}' % ("x" * 65), False),
        ('{"id": ""}', False),
        ('{"id": 5}', False),
        ('{"id": null}', False),
        ('{"id": ["x"]}', False),
        ("{}", True),
    ):
        with Folder(device_json=text) as folder:
            error = error_of(config.load_device, folder)
            assert error.startswith("accepted") == fine, (text, error)
            assert (
                fine or error.startswith(folder.path + "device.json: id: ") and '"auto" or up to 64 characters' in error
            )


def test_generated_ids_have_ten_characters_without_look_alikes():
    seen = set()
    for b in range(256):
        made = config.make_id(bytes([b] * 9 + [255 - b]))
        assert len(made) == 10
        seen.update(made)
    assert len(seen) == 32 and not seen & set("IO01") and all("A" <= c <= "Z" or "2" <= c <= "9" for c in seen)
    assert config.make_id(bytes(range(12))) == config.make_id(bytes(range(10))) == "ABCDEFGHJK"
