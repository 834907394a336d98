"""docs/configuration.md lists every key with default and kind, examples that load, and every error message."""

import json
import re
from pathlib import Path

import pytest
from ioto import config, config_errors, cron, ioto_keys

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "configuration.md").read_text()


def blocks(kind):
    return re.findall(r"```%s\n(.*?)```" % kind, PAGE, re.S)


def section(title):
    return re.split(r"^## ", PAGE.split("\n## %s\n" % title)[1], flags=re.M)[0]


def nested(key, value):
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def error(folder, read=config.load):
    with pytest.raises(config.ConfigError) as e:
        read(str(folder) + "/")
    return str(e.value).replace(str(folder) + "/", "")


def test_page_lists_every_key_with_default_and_kind():
    rows = re.findall(r"^\| `([\w.]+)` \| `(.+?)` \| (.+) \| (.+) \|$", PAGE.split("## device.json")[0], re.M)
    assert {key: json.loads(default) for key, default, _, _ in rows} == {k: d for k, (d, _) in config.DEFAULTS.items()}
    for key, _, told, meaning in rows:
        kind = config.DEFAULTS[key][1]
        if isinstance(kind, tuple):
            kind = "%d to %d" % kind
        elif " " in kind:
            kind = " or ".join("`%s`" % k for k in kind.split())
        assert told == {"texts": "text or list of texts", "files": "file or list of files"}.get(kind, kind), key
        assert meaning.strip(), key


def test_page_repeats_the_comments_of_the_defaults():
    """DEFAULTS is the reference: the comment on each of its lines is the meaning that the page gives."""
    source = (ROOT / "lib" / "ioto" / "defaults.py").read_text()
    meant = dict(re.findall(r'^    "([\w.]+)": \[.+\],  # (.+)$', source, re.M))
    assert set(meant) == set(config.DEFAULTS)
    for key, meaning in meant.items():
        assert re.search(r"^\| `%s` \| .+ \| %s \|$" % (re.escape(key), re.escape(meaning)), PAGE, re.M), (key, meaning)


@pytest.mark.parametrize("kind, at", [("json", 0), ("json5", 0)])
def test_examples_load(tmp_path, kind, at):
    (tmp_path / "ca.pem").touch()
    (tmp_path / ("ioto." + kind)).write_text(blocks(kind)[at])
    assert config.load(str(tmp_path) + "/")["product"] == "PRODUCT-ID"


def test_example_of_device_json_loads(tmp_path):
    (tmp_path / "device.json").write_text(blocks("json")[1])
    assert config.load_device(str(tmp_path) + "/")["id"] == "auto"
    assert len(blocks("json")) == 2 and len(blocks("json5")) == 1


@pytest.mark.parametrize("line", blocks("text")[0].strip().split("\n"))
def test_errors_of_values(tmp_path, line):
    key, value = re.match(r"ioto\.json: ([\w.]+): (?:(\".*?\"|\d+): )?", line).groups()
    (tmp_path / "ioto.json").write_text(json.dumps(nested(key, json.loads(value or "7"))))
    assert error(tmp_path) == line


ROWS = re.findall(r"^\| `(.+?)` \| `(ioto\.json: .+)` \|$", section("Errors"), re.M)


@pytest.mark.parametrize("content, says", ROWS)
def test_errors_of_whole_files(tmp_path, content, says):
    (tmp_path / "ioto.json").write_text(content)
    assert error(tmp_path) == says


def test_other_errors(tmp_path):
    told = re.findall(r"^\| `(.+?)` \| [^`]+ \|$", section("Errors"), re.M)
    seen = [error(tmp_path), error(tmp_path, config.load_device)]
    (tmp_path / "device.json").write_text('{"id": null}')
    seen.append(error(tmp_path, config.load_device))
    (tmp_path / "ioto.json").write_text("{}")
    (tmp_path / "ioto.json5").write_text("{}")
    seen.append(error(tmp_path))
    (tmp_path / "ioto.json5").unlink()
    (tmp_path / "ioto.json").write_bytes(b"\xff")
    seen.append(error(tmp_path))
    (tmp_path / "ioto.json").write_text(" " * 16385)
    seen.append(error(tmp_path))
    assert seen == told[1:]  # without the header of the table


def test_page_lists_every_error():
    said = re.findall(r"""\.wrong\("(.+?)" ?[%)]""", (ROOT / "lib" / "ioto" / "ioto_keys.py").read_text())
    of_the_start = ("plain", "urequests", "tls.ca", "tls.cert")  # tested in tests/trust
    said += [text for what, text in config_errors.TEXTS.items() if what not in of_the_start]
    assert len(said) > 20
    for text in said:
        for part in re.split(r"%s|%d", text):
            assert len(part) < 4 or part in PAGE.replace("`", ""), (text, part)


def test_key_names_of_iotos_own_agent():
    told = section("Files of Ioto's own agent")
    assert dict(re.findall(r"^\| `([\w.]+)` \| `([\w.]+)`", told, re.M)) == ioto_keys.SAME
    ignored = re.search(r"\(level `info`\):\n(.+?)\.\n", told, re.S)[1]
    assert re.findall(r"`(.+?)`", ignored) == ioto_keys.FOREIGN.split()


def test_named_windows():
    told = dict(re.findall(r"^\| `(\w+)` \| `(.+)` \|$", section("Windows"), re.M))
    assert {**told, "never": "", "unscheduled": ""} == cron.ALIASES
    assert "| `never`, `unscheduled` | no time at all |" in PAGE


def test_durations_of_the_page_are_valid():
    from ioto.duration import parse

    for unit in re.findall(r"`(\w+)\(s\)`", section("Durations")):
        assert parse("2 " + unit) == parse("2" + unit + "s") > 1
    assert parse("never") == parse("forever")


def test_example_at_the_root_has_every_key():
    flat = {}

    def flatten(found, prefix):
        for key, value in found.items():
            if isinstance(value, dict):
                flatten(value, prefix + key + ".")
            else:
                flat[prefix + key] = value

    flatten(json.loads((ROOT / "ioto.json").read_text()), "")
    assert set(flat) == set(config.DEFAULTS)
    assert config.load(str(ROOT) + "/")["product"] and config.load_device(str(ROOT) + "/")["id"] == "auto"
