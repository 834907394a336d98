"""A dry run's forecast, compared with the rollout itself: with the same releases, devices and terms."""

import itertools
import random

import pytest
from cloud_under_test import PRODUCT, esp_image
from device_actions import ask, why
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.operators import control, overview
from ioto_tools.cloud.releases import forecast
from ioto_tools.cloud.releases.publish import dry_run, dry_run_slice, publish
from ioto_tools.image import esp


def forecast_counts(cloud, version, image=None, **said):
    """{reason: number of devices} from a dry run."""
    path = cloud.folder / "image.bin"
    path.write_bytes(esp_image(version.encode()) if image is None else image)
    found = dry_run(
        cloud.site, path, "thermo", version, said={"age": "none", **{name: str(value) for name, value in said.items()}}
    )
    assert found["devices"] == sum(each["count"] for each in found["found"].values())
    return {why: each["count"] for why, each in found["found"].items()}


def test_below_a_higher_release(cloud):
    cloud.publish("2.0.0")
    for n in range(4):
        ask(cloud, "D%d" % n)
    assert forecast_counts(cloud, "1.5.0") == {"below": 4} and forecast_counts(cloud, "2.1.0") == {"offered": 4}
    assert forecast_counts(cloud, "2.1.0", limit=1) == {"offered": 1, "limit": 3}
    assert forecast_counts(cloud, "2.1.0", rate=3, period="1 hour") == {"offered": 3, "rate": 1}
    assert forecast_counts(cloud, "2.1.0", rate=3, period="1 hour", limit=2) == {"offered": 2, "limit": 2}
    control.change_state(cloud.site, "thermo@2.0.0", "paused")
    assert forecast_counts(cloud, "1.5.0") == {"offered": 4}


def test_a_higher_release_with_few_slots_leaves_devices_to_this_one(cloud):
    for n in range(6):
        ask(cloud, "D%d" % n)
    cloud.publish("2.0.0", limit=3)
    assert ask(cloud, "D5") == "2.0.0"
    assert forecast_counts(cloud, "1.5.0") == {"below": 3, "offered": 3} and forecast_counts(
        cloud, "1.5.0", limit=1
    ) == {"below": 3, "offered": 1, "limit": 2}


def test_chip_and_slot_size_are_judged_as_in_a_check_in(cloud):
    boards = {
        "SMALL": {"slotSize": 4096},
        "LARGE": {"slotSize": 8192, "chip": 0},
        "S3": {"chip": 9, "slotSize": 8192},
        "SAYS": {"chip": "S3", "slotSize": "1"},
        "OLD": {"chip": 0, "revision": 100, "slotSize": 8192},
    }
    for id, said in boards.items():
        ask(cloud, id, **said)
    cloud.device("NEW")
    image = esp.make_image(8192, "x", revisions=(300, 399))
    assert forecast_counts(cloud, "2.0.0", image) == {
        "too_large": 1,
        "offered": 2,
        "chip": 1,
        "revision": 1,
        "version": 1,
    }
    publish(cloud.site, cloud.folder / "image.bin", "thermo", "2.0.0")
    assert [ask(cloud, id, **said) for id, said in boards.items()] == [None, "2.0.0", None, "2.0.0", None]
    assert (
        why(cloud, "SMALL") == {"2.0.0": "too_large"}
        and why(cloud, "S3") == {"2.0.0": "chip"}
        and why(cloud, "OLD") == {"2.0.0": "revision"}
    )
    other = esp_image(b"s3", 1024)
    other = other[:12] + b"\x09\x00" + other[14:]
    with pytest.raises(CloudError):  # the image's own SHA-256 does not match
        forecast_counts(cloud, "3.0.0", other)


def test_dry_run_of_an_existing_version(cloud):
    cloud.publish("2.0.0")
    ask(cloud, "D1")
    assert forecast_counts(cloud, "2.0.0") == {"offered": 1}
    with pytest.raises(CloudError, match="other content"):
        forecast_counts(cloud, "2.0.0", esp_image(b"other"))
    with pytest.raises(CloudError, match="thermo 2.0.0 is already published"):
        dry_run_slice(cloud.site, PRODUCT, "2.0.0", {}, None, 10)


def test_unclaimed_and_removed_devices_are_offered_nothing(cloud):
    for id in ("D1", "D2", "D3"):
        ask(cloud, id)
    control.unclaim(cloud.site, "D2")
    control.remove(cloud.site, "D3")
    assert forecast_counts(cloud, "2.0.0") == {"offered": 1, "unclaimed": 1}


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(n, marks=pytest.mark.sweep) for n in range(2, 20))])
def test_random_rollouts_happen_as_forecast(cloud, seed, monkeypatch):
    """The forecast is made in pages and slices; then all devices check in, in the order of their ids."""
    draw = random.Random(seed)
    monkeypatch.setattr(overview, "PAGE", 7)
    runs = ("1.0.0", "1.1.0", "1.5.0", "2.0.0", "nonsense")
    devices = {"D%02d" % n: (draw.choice(runs), {"region": draw.choice("ab"), "chip": draw.choice((0, 0, 0, 9)),
        "slotSize": draw.choice((512, 4096))})
               for n in range(25)}  # fmt: skip
    versions = draw.sample(("1.1.0", "1.2.0", "1.3.0", "2.0.0", "2.5.0", "3.0.0-rc.1"), 4)
    mine = versions.pop()

    def terms():
        found = {"policy": draw.choice(("none", "none", "region == 'a'", "region == 'b' && version < newVersion"))}
        found.update(
            draw.choice(
                (
                    {},
                    {},
                    {"limit": draw.randrange(1, 9)},
                    {"rate": draw.randrange(1, 9), "period": "1 hour"},
                    {"percentage": 50},
                )
            )
        )
        return found

    for version in versions[:2]:
        cloud.publish(version, **terms())
    for id, (version, said) in devices.items():
        if draw.random() < 0.6:
            ask(cloud, id, version, **said)
    for id in list(devices):
        if id not in cloud.__dict__.get("tokens", {}):
            del devices[id]
    cloud.publish(versions[2], **terms())
    for id in draw.sample(sorted(devices), 3):
        control.pin(cloud.site, id, draw.choice((mine, *versions)))
    said = terms()
    expected = forecast_counts(cloud, mine, **said)
    row = cloud.publish(mine, **said)
    so_far = None
    row = dict(row, taken=0)
    for _ in itertools.count():
        so_far = forecast.dry_run_slice(cloud.site, row, so_far, 1)
        if so_far["after"] is None:
            break
    assert {why: each["count"] for why, each in so_far["found"].items()} == expected
    got = sum(ask(cloud, id, version, **more) == mine for id, (version, more) in sorted(devices.items()))
    assert got == expected.get("offered", 0), (expected, versions, mine, said)
