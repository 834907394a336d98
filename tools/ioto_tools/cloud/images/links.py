"""Signed links to images: `/image/UPDATE?expires=..&signature=..`; to packed files, `/image/UPDATE/CHECKSUM?...`.

What follows `/image/` is the `name` of the file. The signature is an HMAC-SHA-256 of the name and the expiry time under
a key of the site. The expiry time is rounded up to a multiple of `lifetime_s` / 24, so a link is valid for `lifetime_s`
plus up to a 24th of it. All devices that are offered an update in the same interval get the same link, whichever worker
answers. So a check-in rarely computes a signature, and a reverse proxy can cache the image by its link.

The keys are in the database. The newest key signs; older keys are kept at least until the last link that they
signed has expired.
"""

import base64
import functools
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..http.errors import Refusal
from ..storage import audit
from ..storage.tables import Row, link_keys

if TYPE_CHECKING:
    from ..site.site import Site

LIFETIME_S = 24 * 3600
MAX_LIFETIME_S = 30 * 24 * 3600  # maximum lifetime, which determines when an old key is no longer needed
ROTATE_S = 90 * 24 * 3600  # maximum age of the signing key: then a new one is created
READ_S = 60  # maximum age of the keys in memory
_SPANS = 24
_STORE_LINKS = 1000  # maximum number of cached links of the store
_EXPIRES = re.compile("[1-9][0-9]{0,11}")


class Links:
    """The links of `site`. Thread-safe."""

    def __init__(self, site: "Site") -> None:
        self.site = site
        self.lifetime_s = LIFETIME_S
        self._secrets: tuple[bytes, ...] = ()  # newest first
        self._read_s: int | None = None
        self._store_links: dict[str, tuple[int, str | None]] = {}  # checksum -> (expiry time, the store's link)

    def url(self, base_url: str, name: str, checksum: str) -> str:
        """The link for a device that checks in now: the store's link if it provides one, else a link to this cloud."""
        expires_s = self._expires_s()
        made = self._store_links.get(checksum)
        if made is None or made[0] != expires_s:
            if len(self._store_links) >= _STORE_LINKS:
                self._store_links.clear()
            made = expires_s, self.site.images.link(checksum, expires_s - self.site.now_s())
            self._store_links[checksum] = made
        return made[1] or base_url + self.path(name)

    def is_ready(self, checksum: str) -> bool:
        """Can url() return the link to this image without waiting for the database or the store?"""
        made = self._store_links.get(checksum)
        fresh = self._read_s is not None and 0 <= self.site.now_s() - self._read_s < READ_S
        return fresh and made is not None and made[0] == self._expires_s()

    def path(self, name: str) -> str:
        """The path and query of a link to this cloud. Uses the database only before the first refresh()."""
        if not self._secrets:
            self.refresh()
        return _path(self._secrets[0], name, self._expires_s())

    def _expires_s(self) -> int:
        span = max(1, self.lifetime_s // _SPANS)
        return (self.site.now_s() // span + 1) * span + self.lifetime_s

    def verify(self, name: str, expires: str | None, signature: str | None) -> None:
        """Raise Refusal 403 unless this is a valid link of this site to `name`.

        `expires` and `signature`: as in the query, None if missing.
        """
        if not expires or not _EXPIRES.fullmatch(expires) or not signature:
            raise Refusal(403, "link: it is not signed: check in again for another")
        if not self._is_signed(name, expires, signature):
            self.refresh()  # another process may have created a new key
            if not self._is_signed(name, expires, signature):
                raise Refusal(403, "link: its signature is wrong: check in again for another")
        if int(expires) <= self.site.now_s():
            raise Refusal(403, "link: it has expired: check in again for another")

    def _is_signed(self, name: str, expires: str, signature: str) -> bool:
        return any(
            hmac.compare_digest(_signature(secret, name, expires).encode(), signature.encode())
            for secret in self._secrets
        )

    def refresh(self, at_least_every_s: int = 1) -> None:
        """Read the keys, unless they were read in the last `at_least_every_s` seconds; create a key if one is due."""
        now_s = self.site.now_s()
        if self._read_s is not None and 0 <= now_s - self._read_s < at_least_every_s:
            return
        found = self.site.database.read(_keys)
        if not found or now_s - found[0]["created_s"] >= ROTATE_S:
            found = self.site.database.write(_next_key, self._random_key(), now_s, found and found[0]["id"])
        self._secrets = tuple(bytes.fromhex(key["secret"]) for key in found)
        self._read_s = now_s

    def rotate(self, who: str, revoke: bool = False) -> None:
        """Sign with a new key from now on; other processes do so within READ_S.

        `revoke`: all earlier links become invalid.
        """
        self.site.database.write(_rotate, self._random_key(), self.site.now_s(), who, revoke)
        self._read_s = None
        self.refresh()

    def _random_key(self) -> dict[str, str]:
        return {"id": self.site.random_bytes(8).hex(), "secret": self.site.random_bytes(32).hex()}


@functools.lru_cache(4096)
def _path(secret: bytes, name: str, expires_s: int) -> str:
    return "/image/%s?expires=%d&signature=%s" % (name, expires_s, _signature(secret, name, str(expires_s)))


def _signature(secret: bytes, name: str, expires: str) -> str:
    digest = hmac.digest(secret, ("image\n%s\n%s" % (name, expires)).encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _keys(conn: sa.Connection) -> list[Row]:
    """The keys, newest first."""
    found = sa.select(link_keys).order_by(link_keys.c.created_s.desc(), link_keys.c.id)
    return [dict(row) for row in conn.execute(found).mappings()]


def _next_key(conn: sa.Connection, key: dict[str, str], now_s: int, after: Any) -> list[Row]:
    """Add `key` if `after` (an id or None) is still the newest key; else another process added one. Return all keys."""
    found = _keys(conn)
    if (found[0]["id"] if found else None) == (after or None):
        _rotate(conn, key, now_s, audit.CLOUD, False)
    return _keys(conn)


def _rotate(conn: sa.Connection, key: dict[str, str], now_s: int, who: str, revoke: bool) -> None:
    old = _keys(conn)
    created_s = max(
        now_s, old[0]["created_s"] + 1 if old else 0
    )  # newer than all others, even if the clock was set back
    conn.execute(link_keys.insert().values(created_s=created_s, **key))
    if old:
        audit.note(conn, now_s, who, "links.rotated", "links", revoked=revoke)
    expired = [each["id"] for each, next in zip(old[1:], old) if next["created_s"] < now_s - 2 * MAX_LIFETIME_S]
    deleted = [each["id"] for each in old] if revoke else expired
    conn.execute(link_keys.delete().where(link_keys.c.id.in_(deleted)))
