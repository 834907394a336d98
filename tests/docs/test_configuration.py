"""The page has every key with its default, its examples load, and its errors are the real ones."""

import json
import re
from pathlib import Path

import pytest
from ioto import config

PAGE = (Path(__file__).parent.parent.parent / "docs" / "configuration.md").read_text()


def blocks(kind):
    return re.findall(r"```%s\n(.*?)```" % kind, PAGE, re.S)


def test_every_key_is_there_with_its_default():
    rows = re.findall(r"^\| `([\w.]+)` \| `(.+?)` \| .+ \| (.+) \|$", PAGE, re.M)
    assert {key: json.loads(default) for key, default, _ in rows} == {k: d for k, (d, _) in config.DEFAULTS.items()}
    assert all(meaning.strip() for _, _, meaning in rows)


@pytest.mark.parametrize("kind", ["json", "json5"])
def test_the_examples_load(tmp_path, kind):
    (tmp_path / ("ioto." + kind)).write_text(blocks(kind)[0])
    assert config.load(str(tmp_path) + "/")["product"] == "PRODUCT-ID"


@pytest.mark.parametrize("line", blocks("text")[0].strip().split("\n"))
def test_the_errors_are_the_real_ones(tmp_path, line):
    key, value = re.match(r"ioto\.json: ([\w.]+): (\".*?\"): ", line).groups()
    *path, last = key.split(".")
    nested = {last: json.loads(value)}
    for part in reversed(path):
        nested = {part: nested}
    (tmp_path / "ioto.json").write_text(json.dumps(nested))
    with pytest.raises(config.ConfigError) as e:
        config.load(str(tmp_path) + "/")
    assert str(e.value) == str(tmp_path) + "/" + line


def test_ids_have_no_look_alikes():
    made = {config.make_id(bytes([b] * 10)) for b in range(256)}
    assert all(len(i) == 10 and not set(i) & set("IO01") for i in made)


def test_unknown_keys_say_which_there_are(tmp_path):
    for text, says in (
        ('{"update": {"shedule": "anytime"}}', "update.shedule: unknown key; here are update.apply"),
        ('{"updates": 1}', "updates: unknown key; here are api, builder"),
        ('{"update": 1}', "update: 1: an object of update.schedule"),
        ("[1]", "not an object"),
        ("{", "ioto.json: "),
    ):
        (tmp_path / "ioto.json").write_text(text)
        with pytest.raises(config.ConfigError) as e:
            config.load(str(tmp_path) + "/")
        assert says in str(e.value), text


def test_both_files_or_none_is_an_error(tmp_path):
    with pytest.raises(config.ConfigError, match="not there"):
        config.load(str(tmp_path) + "/")
    (tmp_path / "ioto.json").write_text("{}")
    (tmp_path / "ioto.json5").write_text("{}")
    with pytest.raises(config.ConfigError, match="keep one"):
        config.load(str(tmp_path) + "/")
    for text in ("{}", '{"id": 5}', '{"id": ""}', '{"id": "%s"}' % ("x" * 65)):
        (tmp_path / "device.json").write_text(text)
        with pytest.raises(config.ConfigError, match="id:"):
            config.load_device(str(tmp_path) + "/")


def test_the_example_at_the_root_has_every_key():
    root = Path(__file__).parent.parent.parent
    flat = {}

    def flatten(found, prefix):
        for key, value in found.items():
            if isinstance(value, dict):
                flatten(value, prefix + key + ".")
            else:
                flat[prefix + key] = value

    flatten(json.loads((root / "ioto.json").read_text()), "")
    assert set(flat) == set(config.DEFAULTS)
    assert config.load(str(root) + "/")["product"] and config.load_device(str(root) + "/")["id"] == "auto"
