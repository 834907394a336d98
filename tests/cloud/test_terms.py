"""The terms of a rollout as operators write them: valid and invalid texts of every kind, read and shown again."""

import itertools

import pytest
from cloud_under_test import esp_image
from ioto_tools.cloud import policy
from ioto_tools.cloud.http.errors import CloudError
from ioto_tools.cloud.operators import control, groups, overview
from ioto_tools.cloud.releases.publish import publish
from ioto_tools.cloud.rules import terms
from ioto_tools.image import esp

VALID = {
    "policy": ("device.version < update.version && region == 'x'", "true", " none ", ""),
    "limit": ("1", "2147483647", "none", 5),
    "percentage": ("0", "0.5", "25%", "100", "none", 33.25, 7),
    "rate": ("1", "2147483647", "none"),
    "period": ("1", "90 secs", "1 hour", "366 days", 60),
    "start": ("2026-03-01", "2026-03-01T08:00+01:00", "2026-03-01T08:00:00Z", "none", "1970-01-01"),
    "end": ("2038-01-19T03:14:08", "9999-12-31T23:59:59", "none"),
    "stop": ("5% after 20", "0.5 % after 1", "100 after 9", "none"),
    "stages": ("1% 1h, 10% 1d, 100%", "0.5 % 90 secs,20%", " 100% ", "1% 2 weeks, 2% 1w, 99.5%", "none"),
    "gate": ("20 finished, 2% failed, health", "health", "0% failed , 1 finished", "100 % failed", "none"),
    "kind": ("feature", "security", "none"),
    "notes": ("quieter radio", "two\r\nlines", "", "none", "ä" * 250, "x" * 500, 'a "quoted" \\word', "<b>"),
    "advisory": ("https://example.com/a?b=c#d", "http://a", "", "none", "https://example.com/" + "x" * 180),
    "no_defer_after": ("2026-03-01T08:00+01:00", "none"),
    "age": ("none", "0", "1 day", "90 secs", 3600),
}
INVALID = {
    "policy": ("device.version <", "x" * 2001, "((("),
    "limit": ("0", "-1", "1.5", "many", "2147483648", "", "٣"),
    "percentage": ("-1", "100.1", "x", "", "1e1", "25%%", "nan"),
    "rate": ("0", "-5", "1/h", ""),
    "period": ("0", "never", "soon", "367 days", ""),
    "start": ("tomorrow", "2026-13-01", "9999-12-31T23:59:59-00:01", "1969-12-31", "", "1772352000"),
    "end": ("2026-02-30", "x"),
    "stop": ("5%", "after 20", "0% after 5", "101% after 5", "5% after 0", "5% after -1", "x% after y", ""),
    "stages": (
        "1%x",
        "1% 1h",
        "1% 1h, 1%",
        "10% 1h, 5%",
        "1% 1h, 10%, 100%",
        "1% soon, 2%",
        "1% never, 2%",
        "0% 1h, 2%",
        "1% 0h, 2%",
        "1 1h, 2",
        "1% 1h, 101%",
        "1% 1h,",
        ",",
        "",
        "x",
        "1% 1h; 2%",
        "1% 367 days, 2%",
        "1% -1h, 2%",
        "1% 1m, 2%",
        ", ".join("%d%% 1h" % n for n in range(1, 21)) + ", 100%",
    ),
    "gate": (
        "20",
        "0 finished",
        "101% failed",
        "health, health",
        "1 finished, 2 finished",
        "x",
        "",
        "healthy",
        "2% failed,",
    ),
    "kind": ("", "urgent", "Security"),
    "notes": ("x" * 501, "ä" * 251, "a\0", "bell\a", "\ud800", "a\x1b[31m"),
    "advisory": (
        "example.com",
        "javascript:alert(1)",
        "https://",
        "https://a b",
        "https://ä",
        "https://a/" + "x" * 200,
    ),
    "no_defer_after": ("soon", ""),
    "age": ("young", "-1", "367 days", ""),
}


ADDED = {
    "rate": {"period": "1 min"},
    "gate": {"stages": "1% 1h, 100%"},
    "no_defer_after": {"kind": "security"},
}  # terms without which another is invalid


def test_each_term_alone():
    assert set(VALID) == set(INVALID) == set(terms.TERMS)
    for name, texts in VALID.items():
        for text in texts:
            said = {name: text} | ADDED.get(name, {})
            found = terms.parse_terms(said)
            assert set(found) == set(terms.COLUMNS), (name, text)
            again = terms.parse_terms(
                {key: value for key, value in terms.format_terms(found).items() if value is not None}
            )
            assert again == found, (name, text)
    for name, texts in INVALID.items():
        for text in texts:
            with pytest.raises(CloudError) as refused:
                terms.parse_terms({name: text} | ADDED.get(name, {}))
            assert str(refused.value).startswith(name), (name, text)


def test_terms_that_are_not_given_stay_as_they_are():
    before = terms.parse_terms(
        {
            "limit": "5",
            "percentage": "10",
            "rate": "3",
            "period": "1 hour",
            "start": "2026-01-01",
            "end": "2027-01-01",
            "stop": "5% after 20",
        }
    )
    for names in itertools.chain.from_iterable(
        itertools.combinations(("limit", "percentage", "rate", "start", "end", "stop"), n) for n in range(7)
    ):
        found = terms.parse_terms(dict.fromkeys(names, "none") | {"policy": None}, before)
        for name in terms.TERMS:
            columns = {
                "stop": ("stop_percent", "stop_after"),
                "period": ("period_s",),
                "no_defer_after": ("no_defer_after_s",),
            }.get(name, (name if name in terms.COLUMNS else name + "_s",))
            for column in columns:
                gone = name in names or name == "period" and "rate" in names
                assert found[column] == (before[column] if not gone else 100 if name == "percentage" else None), (
                    names,
                    column,
                )


def test_contradicting_terms_are_refused():
    for said, word in (
        ({"rate": "5"}, "period"),
        ({"start": "2026-01-02", "end": "2026-01-02"}, "end"),
        ({"start": "2026-01-02", "end": "2026-01-01"}, "end"),
    ):
        with pytest.raises(CloudError, match=word):
            terms.parse_terms(said)
    assert terms.parse_terms({"period": "1 hour"})["period_s"] is None  # without a rate, the period is ignored


def test_invalid_term_changes_nothing(cloud):
    path = cloud.folder / "image.bin"
    path.write_bytes(esp_image(b"a"))
    for name, texts in INVALID.items():
        with pytest.raises(CloudError, match=name):
            publish(cloud.site, path, "thermo", "1.0.0", said={name: texts[0]})
    assert overview.updates(cloud.site) == []
    cloud.publish("1.0.0", limit="5")
    before = overview.update(cloud.site, "thermo@1.0.0")
    for name, texts in INVALID.items():
        with pytest.raises(CloudError, match=name):
            control.set_terms(cloud.site, "thermo@1.0.0", {"percentage": "5", name: texts[0]})
    control.set_terms(cloud.site, "thermo@1.0.0", {"limit": "5"})  # no change: nothing is written
    assert overview.update(cloud.site, "thermo@1.0.0") == before


def test_probable_mistakes_are_warned_about():
    for text, warnings in (
        ("region == 'x'", 1),
        ("device.version < update.version", 0),
        ("major < 2", 0),
        ("region == 'x' && version < newVersion", 0),
        ("true", 1),
    ):
        assert len(terms.policy_warnings(text)) == warnings, text
    for version, words in (("1.0.0-alpha11", "alpha.11"), ("1.0.0-rc.1.beta2+b7", "beta.2")):
        [doubt] = terms.version_warnings(version)
        assert words in doubt, version
    for version in ("1.0.0", "1.0.0-alpha.11", "1.0.0-rc", "1.0.0+alpha11", "1.0.0-11", "1.0.0-0a"):
        assert terms.version_warnings(version) == [], version


def test_image_with_another_version_is_refused(cloud):
    path = cloud.folder / "image.bin"
    for said, version, good in (
        ("1.2.0", "1.2.0", True),
        ("v1.3.0", "1.3.0+b7", True),
        ("", "3.0.0", True),
        ("not-a-version", "3.1.0", True),
        ("1.2.0", "1.2.1", False),
        ("v1.25.0", "2.0.0", False),
        ("1.2.0-rc.1", "1.2.0", False),
    ):
        path.write_bytes(esp.make_image(1024, "text %s %s" % (said, version), version=said))
        if good:
            assert publish(cloud.site, path, "thermo", version)[1]
        else:
            with pytest.raises(CloudError, match="image_version.*%s" % said):
                publish(cloud.site, path, "thermo", version)
    assert len(overview.updates(cloud.site)) == 4


def test_groups_are_named_policies(cloud):
    groups.set_policy(cloud.site, "beta", "try_beta == true")
    groups.set_policy(cloud.site, "beta testers", "try_beta == true || region == 'lab'")
    groups.set_policy(cloud.site, "beta", "beta == 1")
    assert groups.listed(cloud.site) == [
        {"name": "beta", "policy": "beta == 1"},
        {"name": "beta testers", "policy": "try_beta == true || region == 'lab'"},
    ]
    both = groups.combine(groups.policy(cloud.site, "beta testers"), "version < newVersion")
    assert policy.compile(both)({"version": "1.0.0", "region": "lab"}, {"version": "1.1.0"}) is True
    assert policy.compile(both)({"version": "1.1.0", "region": "lab"}, {"version": "1.1.0"}) is False
    assert (groups.combine(None, "a"), groups.combine("b", None), groups.combine(None, None)) == ("a", "b", None)
    for name in ("", " a", "a\n", "x" * 65):
        with pytest.raises(CloudError, match="group"):
            groups.set_policy(cloud.site, name, "true")
    with pytest.raises(CloudError, match="policy"):
        groups.set_policy(cloud.site, "beta", "((")
    groups.remove(cloud.site, "beta")
    for function in (groups.policy, groups.remove):
        with pytest.raises(CloudError, match="ioto groups"):
            function(cloud.site, "beta")
