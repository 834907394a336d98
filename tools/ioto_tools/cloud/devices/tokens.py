"""Device tokens: issued at registration, stored as SHA-256, rotated on request, revoked by operators.

The functions take a database connection. A `device` of type `str` is the device's key.

Registering needs only the product id, which every board contains, so it must not grant control of an existing device:

* A device that has a token can't register again, unless it has been silent for `quiet_s` (its flash was erased), an
  operator has claimed it, it has been silent since the site was restored from a backup, or the same program starts
  again (is_restart()).
* A token issued in this way does not end older tokens. If an older token is used again, the device was not erased, so
  the newer tokens are deleted.
* The oldest used token is never deleted to make room. A registration does not delete a token that an operator made by
  hand, or a rotated token that is not used yet.
* Some tokens replace the device's other tokens: a rotated one, one made by hand, and the first one after a claim. The
  first use of such a token ends the others. A client that uses an ended token afterwards has a copy of it: the client
  is refused, and the operator is notified.
"""

import base64
import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..http.errors import Refusal, authentication_failed, cannot_find_device
from ..rollout import shared_ids
from ..storage import audit, change_log, counters, queries
from ..storage.tables import Row, devices, tokens

if TYPE_CHECKING:
    from .registration import RegistrationRequest

TOKEN_BYTES = 30  # 40 characters; the updater programs accept up to 206
QUIET_S = 3 * 24 * 3600
REGISTERED, RESTARTED, BY_HAND, ROTATED = ORIGINS = ("registered", "restarted", "hand", "rotated")
_BY_DEVICE = REGISTERED, RESTARTED
RESTORED_BACKUP = "restored backup_s"  # in `counters`: time of the backup from which the site was restored
_REISSUE_S = 3600  # a device that does not use a rotated token gets another one after this time
# Maximum numbers of tokens that are stored for a device:
_USED_MOST = 8
_WAITING_MOST = 3  # rotated tokens that are not used yet
_ENDED_MOST = 4  # replaced tokens, to recognize clients that still use them


class ReplacedTokenUsed(Refusal):
    """A replaced token was used. `hash`: the token's hash."""

    def __init__(self, hash: str) -> None:
        refusal = authentication_failed()
        super().__init__(refusal.status, refusal.error, refusal.bare)
        self.hash = hash


def new_token(random_bytes: Callable[[int], bytes]) -> str:
    """A new random token."""
    return base64.urlsafe_b64encode(random_bytes(TOKEN_BYTES)).decode()


def hash_token(token: str) -> str:
    # A token is 240 random bits: a plain hash can't be inverted, and needs no salt.
    """The hash by which a token is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def all_tokens(conn: sa.Connection, device: str) -> list[Row]:
    """All tokens of the device, oldest first, including ended ones.

    [{hash, device, created_s, used_s, origin, ended_s, late_s ...}]
    """
    found = sa.select(tokens).where(tokens.c.device == device)
    return [dict(row) for row in conn.execute(found.order_by(tokens.c.created_s, tokens.c.used_s)).mappings()]


def valid_tokens(conn: sa.Connection, device: str) -> list[Row]:
    """Like all_tokens(), but only the valid tokens."""
    return [each for each in all_tokens(conn, device) if each["ended_s"] is None]


def issue(
    conn: sa.Connection,
    token: str,
    device: str,
    now_s: int,
    origin: str = REGISTERED,
    asked: str = "",
    replaces: bool = False,
) -> None:
    """Issue a token to the device, and delete the tokens that become void. `asked`: see is_restart()."""
    good = valid_tokens(conn, device)
    alike = _BY_DEVICE if origin in _BY_DEVICE else (origin,)
    waiting = [each["hash"] for each in good if each["used_s"] is None and each["origin"] in alike]
    used = [each["hash"] for each in good if each["used_s"] is not None]
    void = waiting[: 1 - _WAITING_MOST] if origin == ROTATED else waiting
    if origin == RESTARTED:  # the program has not saved the tokens of its earlier starts
        void += [each["hash"] for each in good if each["asked"] == asked and each["hash"] in used[1:]]
    void += used[1 : 1 - _USED_MOST]  # never the oldest
    conn.execute(tokens.delete().where(tokens.c.hash.in_(void)))
    row = {
        "hash": hash_token(token),
        "device": device,
        "created_s": now_s,
        "origin": origin,
        "asked": asked,
        "replaces": replaces,
        "rotate": False,
    }
    conn.execute(tokens.insert().values(row))


def registration_refusal(
    conn: sa.Connection, device: Row, asking: "RegistrationRequest", now_s: int, quiet_s: int
) -> Refusal | None:
    """Refusal 409 if the device may not register with the request `asking`, else None.

    `device`: the row of a claimed device.
    """
    good = valid_tokens(conn, device["key"])
    used = [each["used_s"] for each in good if each["used_s"] is not None]
    if device["awaited"] or not used and not any(each["origin"] == BY_HAND for each in good):
        return None
    if not used:
        return Refusal(
            409,
            "id: an operator made a token for device %s: give the device that token, or let it register with `ioto "
            "device claim`" % device["id"],
        )
    if is_restart(conn, device, asking.fingerprint):
        return None
    silent_s = now_s - max(device["seen_s"] or 0, device["reported_s"] or 0, *used)
    restored = _is_silent_since_restore(conn, device)
    if silent_s < quiet_s and not restored:
        return Refusal(
            409,
            "id: device %s has a token and sent a request %d s ago: if this is the same device, `ioto device claim` "
            "lets it register again at once; without it, the device can register after %d s of silence"
            % (device["id"], silent_s, quiet_s),
        )
    # If the device has registered like this recently, the audit log contains an entry already.
    if not any(abs(now_s - each["created_s"]) < shared_ids.TRACE_S for each in good[1:]):
        audit.note_device(
            conn,
            now_s,
            audit.CLOUD,
            "device.again",
            device["key"],
            silent_s=silent_s,
            address=asking.address,
            restored=restored,
        )
    return None


def is_restart(conn: sa.Connection, device: Row, asked: str) -> bool:
    """Is this a restart of a program that saves no token, such as Ioto's C agent with a fixed id?

    Such a program registers with the same properties and from the same address as for one of its valid tokens. Always
    false if the device is known to save its token: it has used an older token again, or its last check-in was sent by
    this project's agent.
    """
    if device["keeps"] or shared_ids.is_ours(device):
        return False
    return bool(asked) and any(each["asked"] == asked for each in valid_tokens(conn, device["key"]))


def _is_silent_since_restore(conn: sa.Connection, device: Row) -> bool:
    """Was the device in the backup that the site was restored from, and has it sent no check-in or report since?"""
    backup_s = counters.one(conn, RESTORED_BACKUP)
    return device["first_s"] <= backup_s and max(device["seen_s"] or 0, device["reported_s"] or 0) <= backup_s


_other = tokens.alias()
# A column: are other tokens of the device in use too?
SEVERAL = (
    sa.exists()
    .where(_other.c.device == tokens.c.device, _other.c.hash != tokens.c.hash)
    .where(_other.c.used_s.is_not(None), _other.c.ended_s.is_(None))
    .label("several")
)
_OWNED = sa.select(tokens, *(devices.c[name] for name in ("id", "product", "removed_s", "claimed")), SEVERAL)
_OWNED = _OWNED.join(devices, devices.c.key == tokens.c.device)


@functools.cache
def _owned(dialect: str) -> Any:
    return _OWNED.where(queries.among_given(dialect, tokens.c.hash, "hashes"))


def authenticate(conn: sa.Connection, token: str, id: str, now_s: int) -> sa.RowMapping:
    """Return the row of a valid token of the device with this id, and apply all effects of its use.

    Raises Refusal for any other token.
    """
    [found] = authenticate_all(conn, [(token, id, now_s)])
    if isinstance(found, Refusal):
        raise found
    return found


def authenticate_all(conn: sa.Connection, uses: Sequence[tuple[str, str, int]]) -> list[sa.RowMapping | Refusal]:
    """Like authenticate(), for several tokens: [(token, id, now_s)]; the refusals are returned."""
    hashes = [hash_token(token) for token, _, _ in uses]
    rows = conn.execute(_owned(conn.dialect.name), {"hashes": queries.listed(conn, hashes)}).mappings()
    owned = {row["hash"]: row for row in rows}
    outcomes: list[sa.RowMapping | Refusal] = []
    for use, hash in zip(uses, hashes):
        found = owned.get(hash)
        refusal = _refusal(found, use[1])
        if found is None or refusal:
            outcomes.append(refusal or authentication_failed())
        elif len(uses) > 1 and _has_effects(found):  # read it again: other effects may have changed it
            outcomes += authenticate_all(conn, [use])
        else:
            _apply_use(conn, found, use[2])
            outcomes.append(found)
    return outcomes


def _refusal(found: sa.RowMapping | None, id: str) -> Refusal | None:
    """Why the device with this id must not use the token."""
    if found is None or found["id"] != id:
        return authentication_failed()
    if found["ended_s"] is not None:
        return ReplacedTokenUsed(found["hash"])
    if found["removed_s"] is not None or not found["claimed"]:
        return cannot_find_device()
    return None


def _has_effects(found: sa.RowMapping) -> bool:
    return found["used_s"] is None or found["several"]


def _apply_use(conn: sa.Connection, found: sa.RowMapping, now_s: int) -> None:
    if found["used_s"] is None:
        _first_use(conn, found, now_s)
    elif found["several"]:
        _end_newer(conn, found, now_s)


def _first_use(conn: sa.Connection, found: sa.RowMapping, now_s: int) -> None:
    if found["replaces"]:
        _end_others(conn, found, now_s)
        shared_ids.clear_signs(conn, found["device"])
    conn.execute(tokens.update().where(tokens.c.hash == found["hash"]).values(used_s=now_s))
    # Workers that cache another token of the device must read the device again.
    change_log.note(conn, now_s, found["device"])


def _end_others(conn: sa.Connection, found: sa.RowMapping, now_s: int) -> None:
    others = sa.and_(tokens.c.device == found["device"], tokens.c.hash != found["hash"])
    conn.execute(tokens.update().where(others, tokens.c.ended_s.is_(None)).values(ended_s=now_s))
    ended = [each["hash"] for each in all_tokens(conn, found["device"]) if each["ended_s"] is not None]
    conn.execute(tokens.delete().where(tokens.c.hash.in_(ended[:-_ENDED_MOST])))


def is_replaced(conn: sa.Connection, hash: str) -> bool:
    """Was this token replaced, and has it not been used since?"""
    found = sa.select(tokens.c.hash).where(
        tokens.c.hash == hash, tokens.c.ended_s.is_not(None), tokens.c.late_s.is_(None)
    )
    return conn.execute(found).first() is not None


def record_late_use(conn: sa.Connection, hash: str, now_s: int) -> None:
    """Record the use of a replaced token, and notify the operator, once for each token."""
    first = tokens.update().where(tokens.c.hash == hash, tokens.c.ended_s.is_not(None), tokens.c.late_s.is_(None))
    row = conn.execute(first.values(late_s=now_s).returning(tokens.c.device, tokens.c.ended_s)).first()
    if row is not None:
        audit.note_device(conn, now_s, audit.CLOUD, "device.two_hold", row.device, ended_s=row.ended_s)


def _newer(conn: sa.Connection, found: sa.RowMapping) -> list[str]:
    """Hashes of the device's used tokens that are newer than `found`."""
    used = [each["hash"] for each in valid_tokens(conn, found["device"]) if each["used_s"] is not None]
    return used[used.index(found["hash"]) + 1 :]


def is_cacheable(conn: sa.Connection, found: sa.RowMapping) -> bool:
    """Can the token of the row `found`, which has the column SEVERAL, be used without side effects?

    If so, a worker may cache it until a change of its device is recorded.
    """
    return found["used_s"] is not None and not found["rotate"] and not (found["several"] and _newer(conn, found))


def _end_newer(conn: sa.Connection, found: sa.RowMapping, now_s: int) -> None:
    """Delete the used tokens that are newer than `found`: the use of `found` shows that its device was not erased."""
    later = _newer(conn, found)
    if later:
        conn.execute(tokens.delete().where(tokens.c.hash.in_(later)))
        conn.execute(devices.update().where(devices.c.key == found["device"]).values(keeps=True))
        audit.note_device(conn, now_s, audit.CLOUD, "device.taken_over", found["device"], ended=len(later))
        shared_ids.record_sign(conn, found["device"], "token", now_s)
        change_log.note(conn, now_s, found["device"])


def rotate_if_due(conn: sa.Connection, found: sa.RowMapping, token: str, now_s: int) -> bool:
    """Issue `token` to replace the token of the row `found` if a rotation is due.

    Return whether it was issued: then the caller must send it to the device.
    """
    if not found["rotate"]:
        return False
    waiting = [
        each["created_s"]
        for each in valid_tokens(conn, found["device"])
        if each["used_s"] is None and each["origin"] == ROTATED
    ]
    if any(abs(now_s - created_s) < _REISSUE_S for created_s in waiting):
        return False
    issue(conn, token, found["device"], now_s, ROTATED, replaces=True)
    return True


def rotate(conn: sa.Connection, keys: list[str], now_s: int, who: str) -> None:
    """Request a new token for each of the devices `keys`.

    The token is issued at the device's next check-in; the old one is valid until the new one is used.
    """
    for key in keys:
        mine = sa.and_(tokens.c.device == key, tokens.c.used_s.is_not(None), tokens.c.ended_s.is_(None))
        conn.execute(tokens.update().where(mine).values(rotate=True))
        audit.note_device(conn, now_s, who, "device.rotated", key)
        change_log.note(conn, now_s, key)


def delete_all(conn: sa.Connection, device: str) -> None:
    """Delete all tokens of the device."""
    conn.execute(tokens.delete().where(tokens.c.device == device))


def revoke(conn: sa.Connection, device: str, now_s: int, who: str) -> None:
    """Delete all tokens of the device, and make it unclaimed.

    The device receives `Authentication failed`, and gets no other token until an operator claims it.
    """
    delete_all(conn, device)
    conn.execute(devices.update().where(devices.c.key == device).values(claimed=False, awaited=False))
    audit.note_device(conn, now_s, who, "device.revoked", device)
    change_log.note(conn, now_s, device)
