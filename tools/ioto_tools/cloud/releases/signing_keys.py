"""The keys that signed a product's releases: which one signed each of them, and warnings about a change.

A signature does not contain its key, so the cloud recognizes only keys that it was given: by `ioto publish --key`, or
as a public key. This is information for operators: boards verify signatures with the keys in their update.keys.
"""

import base64
import json
from typing import TYPE_CHECKING

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import rsa

from ...image import keys
from ..http.errors import CloudError, Conflict
from ..operators import overview
from ..storage import audit, queries
from ..storage.tables import AnyRow, Row, signing_keys

if TYPE_CHECKING:
    from ..site.site import Site

UNSIGNED, UNKNOWN = "unsigned", "unknown"
MOST = 20  # keys of a product
SHOWN = 16  # digits of a fingerprint in a sentence


def add(site: "Site", word: str, public: rsa.RSAPublicKey) -> str:
    """Add a public key to the product `word`; return its fingerprint. Conflict if the product has MOST other keys."""
    return site.database.write(_add, word, public, site.now_s(), site.who)


def add_text(site: "Site", word: str, text: str) -> str:
    """add() for a public key in PEM format. CloudError if it is anything else."""
    if "PRIVATE KEY" in text:
        raise CloudError("public key: this is a private key: `ioto keys export` writes its public key to a file")
    try:
        return add(site, word, keys.parse_public(text.strip().encode("utf-8", "replace"), "public key"))
    except keys.KeyFileError as e:
        raise CloudError(str(e)) from e


def _add(conn: sa.Connection, word: str, public: rsa.RSAPublicKey, now_s: int, who: str) -> str:
    product, fingerprint = overview.find_product(conn, word), keys.fingerprint(public)
    known = _known(conn, product["id"])
    if fingerprint not in known:
        if len(known) >= MOST:
            raise Conflict("product %s has %d keys: no more can be added" % (product["name"], MOST))
        text = keys.public_bytes(public).decode()
        row = {"product": product["id"], "fingerprint": fingerprint, "public": text, "added_s": now_s}
        conn.execute(signing_keys.insert().values(row))
        audit.note(conn, now_s, who, "product.key", product["id"], name=product["name"], fingerprint=fingerprint)
    return fingerprint


def _known(conn: sa.Connection, product: str) -> dict[str, rsa.RSAPublicKey]:
    """{fingerprint: key}, the oldest first."""
    found = sa.select(signing_keys.c.fingerprint, signing_keys.c.public).where(signing_keys.c.product == product)
    rows = conn.execute(found.order_by(signing_keys.c.added_s, signing_keys.c.fingerprint))
    return {fingerprint: keys.parse_public(text.encode(), fingerprint) for fingerprint, text in rows}


def _signer(release: AnyRow, known: dict[str, rsa.RSAPublicKey]) -> str:
    """The fingerprint of the key that signed the release, or UNSIGNED or UNKNOWN."""
    if release["manifest"] is None:
        return UNSIGNED
    signed = json.loads(release["manifest"])
    message, signature = signed["manifest"].encode(), base64.b64decode(signed["signature"])
    return next((name for name, key in known.items() if keys.has_signed(key, message, signature)), UNKNOWN)


def listed(site: "Site", word: str) -> Row:
    """{product, keys, warnings} of the product `word`.

    `keys`: [{key, versions, first_s, last_s}]: `key`: a fingerprint, UNSIGNED or UNKNOWN; `versions`: of the releases
    that it signed, in order of publication; `first_s`, `last_s`: when the first and the last were published, None if
    there are none. `warnings`: sentences about changes of the key from one release to the next.
    """
    return site.database.read(_listed, word)


def _listed(conn: sa.Connection, word: str) -> Row:
    product = overview.find_product(conn, word)
    signers = _signers(conn, product["id"])
    found: dict[str, list[Row]] = {name: [] for name in _known(conn, product["id"])}
    for release, signer in signers:
        found.setdefault(signer, []).append(release)
    rows = [
        {
            "key": signer,
            "versions": [row["version"] for row in rows],
            "first_s": rows[0]["created_s"] if rows else None,
            "last_s": rows[-1]["created_s"] if rows else None,
        }
        for signer, rows in found.items()
    ]
    warnings = [text for n in range(len(signers)) for text in _warnings(signers[: n + 1])]
    return {"product": product["name"], "id": product["id"], "keys": rows, "warnings": warnings}


def _signers(conn: sa.Connection, product: str) -> list[tuple[Row, str]]:
    """Each release of the product with its signer, in order of publication."""
    known = _known(conn, product)
    rows = sorted(queries.releases_of(conn, product), key=lambda row: (row["created_s"], row["id"]))
    return [(row, _signer(row, known)) for row in rows]


def of_update(conn: sa.Connection, id: str) -> list[str]:
    """Warnings about the key of an update (its id), compared with the releases that were published before it."""
    release = queries.release(conn, id)
    signers = _signers(conn, release["product"]) if release else []
    n = next((n for n, (row, _) in enumerate(signers) if row["id"] == id), -1)
    return _warnings(signers[: n + 1])


def _warnings(signers: list[tuple[Row, str]]) -> list[str]:
    """Warnings about the last of these releases."""
    if not signers:
        return []
    (release, signer), before = signers[-1], [each for each in signers[:-1] if each[1] != UNSIGNED]
    if not before or before[-1][1] == signer:
        return []
    last, other = before[-1]
    if signer == UNSIGNED:
        return [
            "%s is not signed, but %s is: boards with update.keys refuse it" % (release["version"], last["version"])
        ]
    return [
        "%s is signed with %s, but %s with %s: boards that have only the earlier key in update.keys refuse it"
        % (release["version"], _words(signer), last["version"], _words(other))
    ]


def _words(signer: str) -> str:
    return "a key that the cloud does not know" if signer == UNKNOWN else "the key %s..." % signer[:SHOWN]
