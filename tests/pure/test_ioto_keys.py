"""Files of Ioto's own agent: their form, key names, ignored keys, and the unknown keys that are errors."""

import json

from config_files import Folder, nested, refused
from ioto import config, ioto_keys
from ioto.config import DEFAULTS, ConfigError

# Every key of the files that Ioto publishes with its apps and tests, in the same places.
PUBLISHED = """
{
    version: '1.0.0', profile: 'dev', app: "demo",
    api: { builder: 'https://builder.example/api', serialize: 'http://localhost:4100/ioto/serialize' },
    conditional: {
        profile: {
            dev: {
                directories: { log: '.', state: 'state', },
                optimize: 'debug',
                log: { path: 'stdout', format: '%S: %M', types: 'error,info', sources: 'all,!mbedtls', show: '', },
            },
            prod: { directories: { log: '/var/log', state: '/var/lib/ioto' }, log: { path: 'ioto.log' },
                optimize: 'release' },
        },
    },
    database: { path: '@db/device.db', schema: '@config/schema.json5', maxJournalSize: '50k', maxJournalAge: '15secs',
        maxSyncSize: '10k', service: '1hr' },
    demo: { enable: true, count: 10, delay: '15sec', counter: false, log: false, metric: true, service: false,
        sync: true },
    directories: { log: '.', state: 'state', db: 'db', certs: 'certs', site: 'site' },
    ai: { enable: true, provider: 'openai', model: 'gpt', endpoint: 'https://ai.example/v1', key: 'sk-x' },
    certs: { aws: 'certs/aws.crt', url: 'certs/roots.crt' },
    limits: { reprovision: 5, _stack: '64k', stack: '128k', _fibers: 10 },
    log: { path: 'stdout:all:all,!mbedtls', format: '%D %H %A[%P] (%T, %S): %M', types: 'error,info',
        sources: 'all,!mbedtls', show: '' },
    mqtt: { authority: '@certs/aws.crt', schedule: 'anytime', delay: 15, timeout: 0, certificate: 'auto', key: 'auto',
        client: 'auto', endpoint: 'auto', port: 443, alpn: 'x' },
    optimize: 'debug',
    services: { ai: false, database: true, demo: false, keys: false, logs: false, mqtt: true, provision: true,
        register: true,
        serialize: 'auto', shadow: false, sync: true, test: false, update: true, url: true, web: true },
    scripts: { update: 'scripts/update', reset: 'scripts/reset' },
    timeouts: { api: '30 secs', download: '4 hrs', mqtt: '1 min', provision: '1 min' },
    tls: { certificate: '@certs/test.crt', key: '@certs/test.key' },
    update: { enable: true, schedule: '* * * * *', period: '24 hr', jitter: 0, throttle: 0, apply: '* * * * *' }
}
"""
DEVICE = (
    "{ product: 'PUT-YOUR-PRODUCT-ID-HERE', name: 'EcoHouse', description: 'Eco House Device Agent', model: "
    "'EcoHouse-01', test: false, account: 'A', cloud: 'C', }"
)


def noted(text, **files):
    """(the configuration, its notes) of an ioto.json5."""
    with Folder(ioto_json5=text, **files) as folder:
        notes = []
        found = config.load(folder.path, notes)
        return found, [(level, message.replace(folder.path, "")) for level, message in notes]


def test_published_files_load():
    found, notes = noted(PUBLISHED)
    assert (
        found["builder"] == "https://builder.example/api"
        and found["version"] == "1.0.0"
        and found["update.period"] == 86400
    )
    assert found["update.script"] == "scripts/update" and found["services.update"] is True
    assert found["tls.cert"] == found["tls.key"] == ""
    warned = [message for level, message in notes if level == "warn"]
    assert warned == ["ioto.json5: tls.certificate: ignored, its file or tls.key's is missing"], warned
    told = [message for level, message in notes if level == "info"]
    assert len(told) == len(set(told)) == len(notes) - 1
    for key in ("app", "database", "mqtt", "timeouts", "scripts.reset", "services.test", "services.mqtt", "log.path"):
        assert "ioto.json5: %s: ignored, this agent has no such service" % key in told, key
    assert not [message for message in told if ": update" in message or ": tls" in message]


def test_error_without_a_builder_names_iotos():
    try:
        noted(PUBLISHED.replace("builder: 'https://builder.example/api',", ""))
    except ConfigError as e:
        assert "builder: needed to register" in str(e) and "https://api.admin.embedthis.com/api" in str(e)
    else:
        raise AssertionError("accepted without a builder")
    found, _ = noted(
        PUBLISHED.replace("builder: 'https://builder.example/api',", "").replace("update: true", "update: false")
    )
    assert found["services.update"] is False


def test_id_is_generated_if_the_file_has_none():
    with Folder(device_json5=DEVICE) as folder:
        found = config.load_device(folder.path)
        assert found["id"] == "auto" and found["product"] == "PUT-YOUR-PRODUCT-ID-HERE" and found["test"] is False


def test_files_are_found_in_iotos_places():
    """`@name` is relative to the folder, or to its subfolder state; the file in tls.authority must exist."""
    with Folder() as folder:
        import os

        os.mkdir(folder.path + "state")
        folder.write("state/roots.crt", b"")
        try:
            for name, expected in (
                ("@there", "there"),
                ("@roots.crt", "state/roots.crt"),
                ("there", "there"),
                ("@missing.crt", None),
                ("missing.crt", None),
            ):
                folder.write("ioto.json5", PUBLISHED.replace("tls: {", "tls: { authority: '%s'," % name))
                try:
                    assert config.load(folder.path)["tls.ca"] == [expected]
                except ConfigError as e:
                    assert expected is None and 'ioto.json5: tls.authority: "%s": no such file' % name in str(e), e
            folder.write(
                "ioto.json5", PUBLISHED.replace("@certs/test.crt", "@there").replace("@certs/test.key", "@roots.crt")
            )
            found = config.load(folder.path)
            assert (found["tls.cert"], found["tls.key"]) == ("there", "state/roots.crt")
        finally:
            os.remove(folder.path + "state/roots.crt")
            os.rmdir(folder.path + "state")


def test_conditional_settings_of_the_profile():
    text = PUBLISHED.replace(
        "optimize: 'debug',\n",
        "optimize: 'debug', update: { period: '2 days', throttle: '20 ms' }, log: { level: 'info' },\n",
    )
    found, _ = noted(text)
    assert found["update.period"] == 2 * 86400 and found["update.throttle"] == 20 and found["log.level"] == "info"
    for profile, days in (("prod", 1), ("dev", 2)):
        assert noted(text.replace("profile: 'dev'", "profile: '%s'" % profile))[0]["update.period"] == days * 86400
    assert noted(text.replace("profile: 'dev',", ""))[0]["update.period"] == 2 * 86400  # Ioto's default: dev
    for odd in (
        "1",
        "[]",
        "'x'",
        "{ profile: 1 }",
        "{ profile: { dev: 1 } }",
        "{ profile: { dev: [] } }",
        "{ app: { demo: {} }, other: { x: {} } }",
    ):
        assert noted("{ app: 'demo', conditional: %s, builder: 'https://b' }" % odd)[0]["builder"] == "https://b", odd
    try:
        noted(text.replace("'2 days'", "'2 fortnights'"))
    except ConfigError as e:
        assert "update.period" in str(e)
    else:
        raise AssertionError("accepted a bad period in a profile")


def test_unknown_keys_in_a_file_of_ioto():
    """Unknown keys give a warning with a hint, or an error if they, or similar keys, concern updates, trust or time."""
    for key, value, hint in (
        ("coap", "{ port: 1 }", ""),
        ("log.levl", "'info'", " (log.level?)"),
        ("network.timeot", "5", " (network.timeout?)"),
        ("services.coap", "true", ""),
        ("scripts.connect", "'x'", ""),
        ("wifi.pasword", "'x'", " (wifi.password?)"),
        ("stat", "'x'", " (state?)"),
        ("ssid", "'x'", " (wifi.ssid?)"),
    ):
        *path, last = key.split(".")
        text = "{ app: 'demo', builder: 'https://b', %s }" % (
            path[0] + ": { %s: %s }" % (last, value) if path else "%s: %s" % (last, value)
        )
        found, notes = noted(text)
        assert ("warn", "ioto.json5: %s: unknown key%s, ignored" % (key, hint)) in notes, (key, notes)
        assert set(found) == set(DEFAULTS)
        refused(json.dumps(nested({key: 1})), key + ": unknown key" + hint + "; known keys: ")  # in this project's form
    for key, near in (
        ("update.shedule", "update.schedule"),
        ("update.x", ""),
        ("tls.verfy", "tls.verify"),
        ("ntp.x", ""),
        ("trial.limt", "trial.limit"),
        ("schedule", "update.schedule"),
        ("timezon", "timezone"),
        ("updates", "update"),
        ("services.updates", "services.update"),
        ("bilder", "builder"),
        ("api.bilder", "api.builder"),
        ("watchdogg", "watchdog"),
        ("verson", "version"),
        ("attempts", "update.attempts"),
    ):
        for others in ({}, {"app": "demo"}):
            flat = dict(others)
            flat[key] = 1
            refused(
                json.dumps(nested(flat)), key + ": unknown key" + (" (%s?)" % near if near else "") + "; known keys: "
            )


def test_ignored_keys_are_not_ours():
    ignored = ioto_keys.FOREIGN.split()
    assert len(ignored) == len(set(ignored)) and not set(ignored) & (set(DEFAULTS) | set(ioto_keys.SAME))
    assert not set(ioto_keys.SAME) & set(DEFAULTS) and set(ioto_keys.SAME.values()) <= set(DEFAULTS)
    sections = set(k.split(".")[0] for k in DEFAULTS)
    assert not sections & set(ignored)


def test_errors_name_the_existing_file():
    with Folder(ioto_json5="{}") as folder:
        for name in ("ioto.json", "ioto.json5"):
            assert str(config.wrong(folder.path + name, "builder", "plain")).startswith(
                folder.path + "ioto.json5: builder: plain http"
            )
        folder.write("ioto.json", "{}")
        assert str(config.wrong(folder.path + "ioto.json", "builder", "plain")).startswith(
            folder.path + "ioto.json: builder: plain http"
        )
