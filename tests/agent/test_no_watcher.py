"""No watcher for `device:update`: a Linux host runs scripts/update, as Ioto does; a board logs what main.py lacks.

The files of Ioto's own agent are accepted.
"""

import re

import pytest
from linux_host import GOOD, IMAGE, Host, Served, keep, kept
from rig import MAIN, PRODUCT, Rig

NOBODY = "from ioto import rWatchOff\nrWatchOff('device:update', update)"
IOTO_JSON5 = """{
    version: '1.0.0', profile: 'dev', app: 'demo',
    api: { builder: '%s' },
    conditional: { profile: { dev: { directories: { log: '.', state: 'state' }, update: { period: '1 sec' } } } },
    services: { database: false, mqtt: false, provision: true, register: true, serialize: 'auto', update: true,
        url: true, web: false },
    scripts: { update: 'scripts/update' },
    log: { level: 'debug', path: 'stdout' },
    ntp: { server: '' },
    tls: { authority: '@certs/roots.crt', certificate: '@certs/test.crt', key: '@certs/test.key' },
    update: { enable: true, schedule: '* * * * *', period: '24 hr', jitter: 0, throttle: '0', apply: '* * * * *' },
}"""


@pytest.fixture
def cloud(tmp_path):
    made = Served(tmp_path)
    yield made
    made.close()


@pytest.fixture
def device(tmp_path, cloud):
    made = Host(tmp_path, cloud, keep(), before=NOBODY)
    yield made
    made.kill()


def test_script_is_run_on_linux(cloud, device):
    cloud.publish(IMAGE, "1.0.1")
    device.start().until("CONFIRMED 1.0.1")
    assert device.reported("confirmed") == GOOD and kept(device) == [IMAGE]


def test_nothing_is_applied_on_linux_without_the_script(cloud, device):
    (device.folder / "scripts/update").unlink()
    cloud.publish(IMAGE, "1.0.1")
    device.start().until('rWatch("device:update"')
    assert device.reported("staged") == GOOD[:2]


def test_configuration_files_of_iotos_own_agent(cloud, device):
    """There is no id; the product is in device.json5, the certificates are in state/certs; scripts.update is set."""
    ca = (device.folder / "ca.pem").read_bytes()
    for name in ("ioto.json", "device.json", "ca.pem"):
        (device.folder / name).unlink()
    device.put("ioto.json5", IOTO_JSON5 % cloud.url)
    device.put(
        "device.json5", "{ product: '%s', name: 'EcoHouse', description: 'Eco House', model: 'EcoHouse-01', }" % PRODUCT
    )
    device.put("state/certs/roots.crt", ca)
    cloud.publish(IMAGE, "1.0.1")
    device.start().until("CONFIRMED 1.0.1")
    assert device.reported("confirmed") == GOOD and kept(device) == [IMAGE]
    for line in (
        "info ioto.json5: services.mqtt: ignored",
        "info ioto.json5: log.path: ignored",
        "warn ioto.json5: tls.certificate: ignored",
    ):
        assert line in device.console, device.console


def test_log_of_a_board_says_what_main_py_needs(tmp_path):
    """The test adds the line from the log to main.py."""
    rig = Rig(tmp_path, main=MAIN.replace('rWatch("device:update", update)', "pass"))
    rig.publish(rig.image(1), "1.0.1")
    run = rig.run(until_s=300)
    line = re.search(r"^warn not applied: main\.py needs (rWatch\(.+\))$", run.console, re.M)[1]
    assert run.slots == ["ota_0"]
    assert len(re.findall("not applied", run.console)) == 1, "logged once an hour"
    rig = Rig(tmp_path / "again", main=MAIN.replace('rWatch("device:update", update)', line))
    rig.publish(rig.image(1), "1.0.1")
    assert rig.run(until_s=300, stop=lambda text: text.startswith("CONFIRMED")).slots[-1] == "ota_1"
