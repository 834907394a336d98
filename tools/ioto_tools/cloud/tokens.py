"""Tokens of devices: given at registration, kept as SHA-256, exchanged on request, ended on purpose. Functions of a connection.

Registration wants the product's id alone, and that stands in every board. So it gives no right over a device that is known:

* While a device checks in, its id can't be registered again; only after it was silent for `quiet_s` (its flash was erased),
  or when the operator has ended its tokens.
* A second token that was given so ends nothing. Is the first one used again, then its device was not erased: the second is ended.
* The token of a rotation, given in answer to the one it replaces, ends all others with its first use.
"""

import base64
import hashlib

import sqlalchemy as sa

from . import audit, changes
from .refusal import Refusal, authentication_failed, cannot_find_device
from .tables import devices, tokens

TOKEN_BYTES = 30  # 40 characters; the updater programs have room for 206
QUIET_S = 3 * 24 * 3600
_SECONDS_AGAIN = 3600  # a device that did not take a token up is given the next one after so long
_USED_MOST = 3  # of one device


def drawn(random_bytes):
    return base64.urlsafe_b64encode(random_bytes(TOKEN_BYTES)).decode()


def hashed(token):
    # A token is 240 random bits: a plain hash can't be turned round, and needs no salt.
    return hashlib.sha256(token.encode()).hexdigest()


def of_device(conn, device):
    """Its tokens, the oldest first: [{hash, device, created_s, used_s, replaces, rotate}]."""
    found = sa.select(tokens).where(tokens.c.device == device)
    return [dict(row) for row in conn.execute(found.order_by(tokens.c.created_s, tokens.c.used_s)).mappings()]


def give(conn, token, device, now_s, replaces=False):
    """One token more for the device; one that was given out before and never used is void."""
    used = [each for each in of_device(conn, device) if each["used_s"] is not None]
    kept = [each["hash"] for each in used[-_USED_MOST:]]
    conn.execute(tokens.delete().where(tokens.c.device == device, tokens.c.hash.not_in(kept)))
    conn.execute(tokens.insert().values(hash=hashed(token), device=device, created_s=now_s, replaces=replaces, rotate=False))


def may_register(conn, device, now_s, quiet_s):
    """Refusal 409 while the device (a row) lives."""
    if all(each["used_s"] is None for each in of_device(conn, device["id"])):
        return
    silent_s = now_s - (device["seen_s"] or 0)
    if silent_s < quiet_s:
        raise Refusal(
            409,
            "id: device %s has a token and checked in %d s ago: `ioto device revoke` lets it register again at once, "
            "%d s without a check-in as well" % (device["id"], silent_s, quiet_s),
        )
    audit.note(conn, now_s, audit.CLOUD, "device.again", device["id"], silent_s=silent_s)


def authenticate(conn, token, device, now_s):
    """The token's row if it opens `device` (an id); what follows from its use is done. Refusal for every other."""
    found = conn.execute(sa.select(tokens).where(tokens.c.hash == hashed(token))).mappings().first()
    if found is None or found["device"] != device:
        raise authentication_failed()
    removed_s, claimed = conn.execute(sa.select(devices.c.removed_s, devices.c.claimed).where(devices.c.id == device)).one()
    if removed_s is not None or not claimed:
        raise cannot_find_device()
    if found["used_s"] is None:
        _first_use(conn, found, now_s)
    else:
        _older_counts(conn, found, now_s)
    return found


def _first_use(conn, found, now_s):
    others = tokens.delete().where(tokens.c.device == found["device"], tokens.c.hash != found["hash"])
    if found["replaces"]:
        conn.execute(others)
    conn.execute(tokens.update().where(tokens.c.hash == found["hash"]).values(used_s=now_s))
    changes.note(conn, now_s, found["device"])  # whoever holds another token of it in memory is to look again


def _later(conn, found):
    """Hashes of the tokens that came after `found` and were used."""
    used = [each["hash"] for each in of_device(conn, found["device"]) if each["used_s"] is not None]
    return used[used.index(found["hash"]) + 1 :]


def settled(conn, hash):
    """Does nothing follow from a use of the token, so that a worker may hold it in memory until a change of its device is noted?"""
    found = conn.execute(sa.select(tokens).where(tokens.c.hash == hash)).mappings().first()
    return found["used_s"] is not None and not found["rotate"] and not _later(conn, found)


def _older_counts(conn, found, now_s):
    later = _later(conn, found)
    if later:
        conn.execute(tokens.delete().where(tokens.c.hash.in_(later)))
        audit.note(conn, now_s, audit.CLOUD, "device.taken_over", found["device"], ended=len(later))
        changes.note(conn, now_s, found["device"])


def renewed(conn, found, token, now_s):
    """Give `token` in exchange for the row `found` if its rotation was asked for: True, then the device is to be told."""
    if not found["rotate"]:
        return False
    waiting = [each for each in of_device(conn, found["device"]) if each["used_s"] is None]
    if waiting and waiting[0]["created_s"] > now_s - _SECONDS_AGAIN:
        return False
    give(conn, token, found["device"], now_s, replaces=True)
    return True


def rotate(conn, devices_, now_s, who):
    """Ask for another token of each of the devices (ids): given at its next check-in, the old one is good until it is used."""
    for id in devices_:
        conn.execute(tokens.update().where(tokens.c.device == id, tokens.c.used_s.is_not(None)).values(rotate=True))
        audit.note(conn, now_s, who, "device.rotated", id)
        changes.note(conn, now_s, id)


def end(conn, device):
    conn.execute(tokens.delete().where(tokens.c.device == device))


def revoke(conn, device, now_s, who):
    """End all tokens of the device (an id): it hears `Authentication failed` and may register again at once."""
    end(conn, device)
    audit.note(conn, now_s, who, "device.revoked", device)
    changes.note(conn, now_s, device)
