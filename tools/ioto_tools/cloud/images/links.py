"""Links to images: `/image/UPDATE?expires=..&signature=..`, an HMAC-SHA-256 of both under a key of the site.

A link is valid for `lifetime_s` and up to a 24th more: all devices that are offered an update within one such span, by
any worker, get the same link. So a check-in signs nothing, and a proxy in front can cache a link.

The keys are in the database. The newest one signs; older ones are valid until the last link that they signed has
expired.
"""

import base64
import functools
import hashlib
import hmac
import re

import sqlalchemy as sa

from ..http.errors import Refusal
from ..storage import audit
from ..storage.tables import link_keys

LIFETIME_S = 24 * 3600
LONGEST_S = 30 * 24 * 3600  # maximum lifetime, which determines when an old key is no longer needed
ROTATE_S = 90 * 24 * 3600  # an older key is replaced automatically
READ_S = 60  # maximum age of the keys in memory
_SPANS = 24
_STORED = 1000  # cached links of the store
_EXPIRES = re.compile("[1-9][0-9]{0,11}")


class Links:
    """The links of `site`. Thread-safe."""

    def __init__(self, site, lifetime_s=LIFETIME_S) -> None:
        self.site = site
        self.lifetime_s = lifetime_s
        self._secrets = ()  # newest first
        self._read_s = None
        self._stored = {}  # checksum -> (when it expires, the store's link or None)

    def url(self, base_url, update, checksum):
        """The link for a device now: the store's own if it provides one, else one to this cloud."""
        expires_s = self._expires_s()
        made = self._stored.get(checksum)
        if made is None or made[0] != expires_s:
            if len(self._stored) >= _STORED:
                self._stored.clear()
            made = expires_s, self.site.images.link(checksum, expires_s - self.site.now_s())
            self._stored[checksum] = made
        return made[1] or base_url + self.path(update)

    def path(self, update):
        """A link to this cloud, without the host. Does not use the database after refresh() has been called."""
        if not self._secrets:
            self.refresh()
        return _path(self._secrets[0], update, self._expires_s())

    def _expires_s(self):
        span = max(1, self.lifetime_s // _SPANS)
        return (self.site.now_s() // span + 1) * span + self.lifetime_s

    def check(self, update, expires, signature):
        """Refusal 403 unless this is a valid link of this site to `update`. Arguments: texts from the query, or
        None.
        """
        if not _EXPIRES.fullmatch(expires or "") or not signature:
            raise Refusal(403, "link: it is not signed: check in again for another")
        if not self._good(update, expires, signature):
            self.refresh()  # another process may have made a new key
            if not self._good(update, expires, signature):
                raise Refusal(403, "link: its signature is wrong: check in again for another")
        if int(expires) <= self.site.now_s():
            raise Refusal(403, "link: it has expired: check in again for another")

    def _good(self, update, expires, signature):
        return any(
            hmac.compare_digest(_signature(secret, update, expires).encode(), signature.encode())
            for secret in self._secrets
        )

    def refresh(self, at_least_every_s: int = 1) -> None:
        """Read the keys from the database, unless that was done within `at_least_every_s`. Creates the first key."""
        now_s = self.site.now_s()
        if self._read_s is not None and 0 <= now_s - self._read_s < at_least_every_s:
            return
        found = self.site.database.read(_keys)
        if not found or now_s - found[0]["created_s"] >= ROTATE_S:
            found = self.site.database.write(_next_key, self._drawn(), now_s, found and found[0]["id"])
        self._secrets = tuple(bytes.fromhex(key["secret"]) for key in found)
        self._read_s = now_s

    def rotate(self, who, revoke: bool = False) -> None:
        """Sign with a new key from now on, in other processes within READ_S. `revoke`: all earlier links become
        invalid.
        """
        self.site.database.write(_rotate, self._drawn(), self.site.now_s(), who, revoke)
        self._read_s = None
        self.refresh()

    def _drawn(self):
        return {"id": self.site.random_bytes(8).hex(), "secret": self.site.random_bytes(32).hex()}


@functools.lru_cache(4096)
def _path(secret, update, expires_s) -> str:
    return "/image/%s?expires=%d&signature=%s" % (update, expires_s, _signature(secret, update, str(expires_s)))


def _signature(secret, update, expires):
    digest = hmac.digest(secret, ("image\n%s\n%s" % (update, expires)).encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _keys(conn):
    """The keys, newest first."""
    found = sa.select(link_keys).order_by(link_keys.c.created_s.desc(), link_keys.c.id)
    return [dict(row) for row in conn.execute(found).mappings()]


def _next_key(conn, drawn, now_s, after):
    """Create a key after the key `after` (an id or None), unless another process has done so."""
    found = _keys(conn)
    if (found[0]["id"] if found else None) == (after or None):
        _rotate(conn, drawn, now_s, audit.CLOUD, False)
    return _keys(conn)


def _rotate(conn, drawn, now_s, who, revoke) -> None:
    old = _keys(conn)
    created_s = max(now_s, old[0]["created_s"] + 1 if old else 0)  # newer than all others, whatever the clock
    conn.execute(link_keys.insert().values(created_s=created_s, **drawn))
    if old:
        audit.note(conn, now_s, who, "links.rotated", "links", revoked=revoke)
    done = [key["id"] for key, next in zip(old[1:], old) if next["created_s"] < now_s - 2 * LONGEST_S]
    gone = [key["id"] for key in old] if revoke else done
    conn.execute(link_keys.delete().where(link_keys.c.id.in_(gone)))
