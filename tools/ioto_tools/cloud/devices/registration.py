"""Answers a device's registration and image request (check-in: checkin.py, report: reports.py).

Each change is one transaction, which is on the disk before the device gets its answer. Random values and the time are
determined before the transaction begins.
"""

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..http.errors import Refusal
from ..rollout import shared_ids
from ..rules import update_states
from ..storage import audit, change_log, counters, queries
from ..storage.tables import Row, devices
from . import messages, tokens
from .messages import Fields

if TYPE_CHECKING:
    from ..site.site import Site

NEW_PER_HOUR = 600  # devices of a product that register for the first time
UNCLAIMED_BYTES = 2048  # size limit for the properties of an unclaimed device
_HOUR_S = 3600
_log = logging.getLogger("ioto.cloud")
# Properties that may differ between two starts of the same program, for example after an update.
_VOLATILE = "created", "version", "iotoVersion"


@dataclass(frozen=True)
class RegistrationRequest:
    """A registration request: what a device sends, and its address."""

    product: str  # its id
    id: str
    properties: Fields
    address: str  # "" if unknown

    @property
    def fingerprint(self) -> str:
        """A hash that stays the same when the same program starts again on the same device at the same address.

        "" if the address is unknown.
        """
        stable = {name: value for name, value in self.properties.items() if name not in _VOLATILE}
        return self.address and hashlib.sha256(json.dumps([self.address, stable], sort_keys=True).encode()).hexdigest()


def register(site: "Site", product: str, fields: Fields, base_url: str, address: str = "") -> Row:
    """Register a device with its product's id; return the response body with the API's URL and a token.

    tokens.py has the rules for an id that is already registered. An unclaimed device gets neither URL nor token, and
    asks again.
    """
    asking = RegistrationRequest(product, messages.device_id(fields), fields, address)
    token, key = tokens.new_token(site.random_bytes), _new_key(site)
    claimed, refusal = site.database.write(_register, key, asking, token, site.now_s(), site.quiet_s, site.new_per_hour)
    if refusal:
        raise refusal
    if not claimed:
        return {"registered": True, "id": asking.id}
    return {"api": base_url, "token": token, "registered": True}


def _new_key(site: "Site") -> str:
    """A key for a new device (tables.py)."""
    return site.random_bytes(13).hex()


def _register(
    conn: sa.Connection, key: str, asking: RegistrationRequest, token: str, now_s: int, quiet_s: int, new_per_hour: int
) -> tuple[bool, Refusal | None]:
    """Register a device: return (True if the device is claimed and its token is stored, Refusal or None).

    A Refusal is returned, not raised, so that the transaction is committed with what it has recorded.
    """
    found = queries.product_by_id(conn, asking.product)
    if found is None:
        raise Refusal(
            401, "Authorization: no product has this id; `ioto product list` lists the products and their ids"
        )
    known = queries.device_by_id(conn, asking.product, asking.id) or {}
    key = known.get("key", key)
    new = not known or known["removed_s"] is not None
    if new and (wait_s := _wait_s(conn, found["id"], now_s, new_per_hour)):
        return False, Refusal(
            429,
            "product %s: the limit of %d new devices in an hour is reached: try again later"
            % (found["name"], new_per_hour),
            retry_s=wait_s,
        )
    if not new and known["claimed"] and (refusal := tokens.registration_refusal(conn, known, asking, now_s, quiet_s)):
        shared_ids.count_refusal(conn, known, asking.address, now_s)
        return False, refusal
    if new or not known["claimed"]:
        tokens.delete_all(
            conn, key
        )  # they were kept until now, so that clients that used them received the right error
    claimed = not found["by_hand"] if new else known["claimed"]
    kept = asking if claimed else replace(asking, properties=_truncated(asking.properties))
    queries.register(conn, key, kept, claimed, now_s, new)
    if claimed:
        awaited = not new and known["awaited"]
        restarted = not new and not awaited and tokens.is_restart(conn, known, asking.fingerprint)
        origin = tokens.RESTARTED if restarted else tokens.REGISTERED
        tokens.issue(conn, token, key, now_s, origin, asking.fingerprint, replaces=awaited)
    change_log.note(conn, now_s, key)
    return claimed, None


def _truncated(properties: Fields) -> Fields:
    """The `properties` that fit into UNCLAIMED_BYTES."""
    kept, left = {}, UNCLAIMED_BYTES
    for name, value in properties.items():
        size = len(messages.to_json({name: value}))
        if size <= left:
            kept[name] = value
            left -= size
    return kept


def _wait_s(conn: sa.Connection, product: str, now_s: int, most: int) -> int | None:
    """Seconds that a new device of the product must wait before it may register; None: it may register now.

    Writes an audit entry, at most once an hour, if the limit of `most` new devices in an hour is reached.
    """
    # Later registration times were recorded by a wrong clock.
    within = devices.c.first_s.between(now_s - _HOUR_S + 1, now_s + update_states.CLOCK_TOLERANCE_S)
    recent = sa.select(devices.c.first_s).where(devices.c.product == product, within)
    oldest_s = most and conn.execute(recent.order_by(devices.c.first_s.desc()).offset(most - 1).limit(1)).scalar()
    if not oldest_s:
        return None
    counter = "crowded " + product
    if abs(now_s - counters.one(conn, counter)) >= _HOUR_S:
        counters.put(conn, counter, now_s)
        audit.note(conn, now_s, audit.CLOUD, "product.many_new", product, devices=most, within_s=_HOUR_S)
    return min(_HOUR_S, oldest_s + _HOUR_S - now_s + 1)


def register_by_hand(site: "Site", product: str, id: str) -> str:
    """Make a token for device `id` of `product` (an id) at an operator's request; return the token.

    The first use of this token ends all earlier tokens of the device.
    """
    asking = RegistrationRequest(product, messages.device_id({"id": id}), {"id": id}, "")
    token, key = tokens.new_token(site.random_bytes), _new_key(site)
    site.database.write(_register_by_hand, key, asking, token, site.now_s(), site.who)
    return token


def _register_by_hand(
    conn: sa.Connection, key: str, asking: RegistrationRequest, token: str, now_s: int, who: str
) -> None:
    known = queries.device_by_id(conn, asking.product, asking.id) or {}
    key = known.get("key", key)
    new = not known or known["removed_s"] is not None
    if new:
        tokens.delete_all(conn, key)
    queries.register(conn, key, asking, True, now_s, new)
    conn.execute(devices.update().where(devices.c.key == key).values(vouched=True))
    tokens.issue(conn, token, key, now_s, tokens.BY_HAND, replaces=True)
    change_log.note(conn, now_s, key)
    audit.note_device(conn, now_s, who, "device.new", key)


def answer_mqtt(site: "Site", token: str, fields: Fields) -> Row:
    """Answer a request for an MQTT certificate; return the response body.

    Ioto's C agent sends this request before its first update check, and waits for the answer. This cloud has no MQTT
    broker: if the certificate is empty and `endpoint` is missing, the agent connects to no broker and continues with
    its update check.
    """
    now_s = site.now_s()
    try:
        site.database.write(tokens.authenticate, token, messages.device_id(fields), now_s)
    except tokens.ReplacedTokenUsed as e:
        site.database.write(tokens.record_late_use, e.hash, now_s)
        raise
    return {"certificate": "", "key": ""}


def open_image(
    site: "Site", update: str, packed: str | None, expires: str | None, signature: str | None
) -> tuple[Any, Row]:
    """(open file, row with its checksum and size) for a signed link to the image of `update`.

    `packed`: the checksum of one of its packed files; None: its own file. Raises Refusal 403 or 404; OSError if the
    file can't be read.
    """
    site.links.verify(update if packed is None else "%s/%s" % (update, packed), expires, signature)
    release = site.database.read(queries.release, update)
    if release is None:
        raise Refusal(404, "update: no update has this id")
    if release["archived_s"] is not None:
        raise Refusal(404, "update: it is archived, its image is deleted")
    if packed is not None:
        return _open_packed(site, update, packed)
    return site.images.open(release["checksum"]), release


def _open_packed(site: "Site", update: str, checksum: str) -> tuple[Any, Row]:
    """(open file, its row). If it is lost or truncated, it is made again, and devices get the whole image meanwhile."""
    row = site.database.read(queries.packed_file, update, checksum)
    if row is None:
        raise Refusal(404, "file: it no longer exists: check in again for another")
    try:
        file = site.images.open(checksum)
    except FileNotFoundError:
        file = None
    if file is not None and file.size == row["size"]:
        return file, row
    if file is not None:
        file.close()
    site.database.write(queries.make_again, update, checksum, site.now_s())
    _log.error("packed file %s of update %s: lost or truncated: it is made again", checksum, update)
    raise Refusal(404, "file: it was lost: check in again for another")
