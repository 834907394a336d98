"""The cloud shows which key signed each release, and warns when the key changes or a signature is missing."""

import json

import pytest
from cloud_under_test import PRODUCT, esp_image
from ioto_tools.cloud.http.errors import CloudError, Conflict, Missing
from ioto_tools.cloud.operators import overview
from ioto_tools.cloud.releases import deletion, signing_keys, term_warnings
from ioto_tools.cloud.storage import audit
from ioto_tools.image import keys, release
from web_session import REFUSED, Session, problem, text

FIRST, SECOND = keys.generate(), keys.generate()
A, B = (keys.fingerprint(each.public_key()) for each in (FIRST, SECOND))


def publish(cloud, version, key=None):
    """Publish a version, signed with `key` if it is given; return the warnings about it."""
    cloud.now_s += 10
    image = esp_image(version.encode())
    if key:
        plain, signed = cloud.folder / "plain.bin", cloud.folder / "signed.bin"
        plain.write_bytes(image)
        with signed.open("wb") as out:
            release.sign(plain, out, key, PRODUCT, version)
        image = signed.read_bytes()
    made = cloud.publish(version, image)
    doubts = term_warnings.of_update(cloud.site, overview.update(cloud.site, made["id"]))
    return [doubt for doubt in doubts if "update.keys" in doubt]


def add(cloud, key):
    return signing_keys.add(cloud.site, "thermo", key.public_key())


def listed(cloud):
    return {each["key"]: each["versions"] for each in signing_keys.listed(cloud.site, "thermo")["keys"]}


def test_the_key_of_each_release(cloud):
    assert listed(cloud) == {}
    assert publish(cloud, "1.0.0") == [] and listed(cloud) == {"unsigned": ["1.0.0"]}
    assert publish(cloud, "1.1.0", FIRST) == [] and publish(cloud, "1.2.0", FIRST) == []
    assert listed(cloud) == {"unsigned": ["1.0.0"], "unknown": ["1.1.0", "1.2.0"]}
    assert add(cloud, FIRST) == add(cloud, FIRST) == A and add(cloud, SECOND) == B
    assert listed(cloud) == {"unsigned": ["1.0.0"], A: ["1.1.0", "1.2.0"], B: []}
    [row] = [each for each in signing_keys.listed(cloud.site, PRODUCT)["keys"] if each["key"] == A]
    assert (row["first_s"], row["last_s"]) == (cloud.now_s - 10, cloud.now_s)
    added = [row for row in cloud.site.database.read(audit.newest) if row["action"] == "product.key"]
    assert sorted(row["detail"]["fingerprint"] for row in added) == sorted((A, B))


def test_warnings_when_the_key_changes(cloud):
    add(cloud, FIRST)
    assert publish(cloud, "1.0.0", FIRST) == []
    unknown = publish(cloud, "1.1.0", SECOND)
    refuse = "boards that have only the earlier key in update.keys refuse it"
    said = "1.1.0 is signed with %%s, but 1.0.0 with the key %s...: %s" % (A[:16], refuse)
    assert unknown == [said % "a key that the cloud does not know"]
    add(cloud, SECOND)
    assert publish(cloud, "1.2.0", SECOND) == []
    unsigned = publish(cloud, "1.3.0")
    assert unsigned == ["1.3.0 is not signed, but 1.2.0 is: boards with update.keys refuse it"]
    assert publish(cloud, "1.4.0", SECOND) == []
    warnings = signing_keys.listed(cloud.site, "thermo")["warnings"]
    assert warnings == [said % ("the key %s..." % B[:16]), *unsigned]


def test_only_public_keys_are_accepted(cloud):
    private = keys.generate()
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(CloudError, match="this is a private key") as refused:
        signing_keys.add_text(cloud.site, "thermo", pem)
    assert pem[40:80] not in str(refused.value)
    for wrong in (
        "",
        "x",
        "-----BEGIN PUBLIC KEY-----",
        "\ud800x",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
    ):
        with pytest.raises(CloudError, match="public key"):
            signing_keys.add_text(cloud.site, "thermo", wrong)
    with pytest.raises(Missing):
        signing_keys.add(cloud.site, "nix", private.public_key())
    assert listed(cloud) == {}


def test_the_number_of_keys_is_limited(cloud, monkeypatch):
    monkeypatch.setattr(signing_keys, "MOST", 1)
    add(cloud, FIRST)
    with pytest.raises(Conflict, match="has 1 keys"):
        add(cloud, SECOND)
    assert add(cloud, FIRST) == A


def test_keys_are_deleted_with_their_product(cloud):
    add(cloud, FIRST)
    deletion.delete_product(cloud.site, "thermo")
    assert overview.products(cloud.site) == []


def test_the_page(cloud):
    operator, reader = Session(cloud), Session(cloud, "reader", "read")
    publish(cloud, "1.0.0", FIRST)
    page = "keys?id=" + PRODUCT
    assert 'href="%s"' % page in operator.get("product?id=thermo").body.decode()
    assert "unknown 1 1.0.0" in text(operator.get(page)) and "<textarea" not in reader.get(page).body.decode()
    pem = keys.public_bytes(FIRST.public_key()).decode().replace("\n", "\r\n")
    assert operator.post("keys", {"id": PRODUCT, "public_key": pem}).status == 303
    assert "%s 1 1.0.0" % A in text(operator.get(page))
    reply = operator.post("keys", {"id": PRODUCT, "public_key": "x"}, hx_request="true")
    assert reply.status in REFUSED and "no key in PEM" in problem(reply)
    publish(cloud, "1.1.0")
    assert "1.1.0 is not signed, but 1.0.0 is" in text(operator.get(page))


@pytest.mark.sweep
def test_the_commands(cloud, ioto, tmp_path):
    data = "--data", "site"
    (tmp_path / "a.bin").write_bytes(esp_image(b"a"))
    ioto("keys", "new", "release.pem", "--no-passphrase")
    signed = "publish", "a.bin", "--product", "thermo", "--key", "release.pem", *data, "--version"
    ioto(*signed, "1.0.0", "--dry-run")
    assert listed(cloud) == {}
    ioto(*signed, "1.0.0")
    [fingerprint] = listed(cloud)
    assert fingerprint in ioto("product", "keys", "thermo", *data).stdout
    ioto("keys", "new", "other.pem", "--no-passphrase")
    found = json.loads(ioto("product", "keys", "thermo", "--add", "other.pub.pem", "--json", *data).stdout)
    assert [len(each["versions"]) for each in found["keys"]] == [1, 0]
    for wrong, said in (("other.pem", "private key"), ("a.bin", "no key in PEM or DER format")):
        refused = ioto("product", "keys", "thermo", "--add", wrong, *data, ok=False)
        assert refused.returncode == 1 and said in refused.stderr and "Traceback" not in refused.stderr
    said = ioto("publish", "a.bin", "--product", "thermo", "--version", "1.1.0", *data)
    assert "1.1.0 is not signed, but 1.0.0 is" in said.stdout + said.stderr
