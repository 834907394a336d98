"""What the cloud answers a device: registration, report, image; checkin.py has the rest. Functions of a site, a token and a parsed body.

Each is one transaction; what it changes is on the disk before the device hears of it. What is drawn at random, and what
time it is, is settled before the transaction begins.
"""

import hashlib
import json
from dataclasses import dataclass, replace

import sqlalchemy as sa

from ..http.errors import Refusal
from ..rollout import grants, identity
from ..rules import update_states
from ..storage import audit, changes, counters, queries
from ..storage.tables import devices
from . import messages, tokens

NEW_PER_HOUR = 600  # devices of a product that register for the first time
UNCLAIMED_BYTES = 2048  # of the properties of a device that is not claimed
_HOUR_S = 3600
_CHANGING = "created", "version", "iotoVersion"  # between two starts of one program: an update may lie between them


@dataclass(frozen=True)
class Registration:
    """What a device sends to register, and from where."""

    product: str  # its id
    id: str
    properties: dict
    address: str  # "" where it is not known

    @property
    def asked(self):
        """The same whenever the same program starts on the same device in the same place; "" where the place is not known."""
        said = {name: value for name, value in self.properties.items() if name not in _CHANGING}
        return self.address and hashlib.sha256(json.dumps([self.address, said], sort_keys=True).encode()).hexdigest()


def register(site, product, fields, base_url, address=""):
    """A device asks for its API and token with its product's id. Body of the answer. tokens.py has what a known id may.

    A device that nobody has claimed gets neither, and asks again.
    """
    asking = Registration(product, messages.registration(fields).id, fields, address)
    token, key = tokens.drawn(site.random_bytes), _key(site)
    claimed, refusal = site.database.write(_register, key, asking, token, site.now_s(), site.quiet_s, site.new_per_hour)
    if refusal:
        raise refusal
    if not claimed:
        return {"registered": True, "id": asking.id}
    return {"api": base_url, "token": token, "registered": True}


def _key(site):
    """A key for a device that is new (tables.py)."""
    return site.random_bytes(13).hex()


def _register(conn, key, asking, token, now_s, quiet_s, new_per_hour):
    """(is the device claimed, so that the token is its own? a Refusal or None): what a refusal leaves behind is to stay."""
    found = queries.product_by_id(conn, asking.product)
    if found is None:
        raise Refusal(401, "Authorization: no product has this id: `ioto product list` shows the ids of the products")
    known = queries.device_of(conn, asking.product, asking.id)
    key = known["key"] if known else key
    new = known is None or known["removed_s"] is not None
    if new and (wait_s := _crowded(conn, found["id"], now_s, new_per_hour)):
        return False, Refusal(429, "product %s: the limit of %d new devices in an hour is reached: try again later" % (found["name"], new_per_hour), retry_s=wait_s)
    if not new and known["claimed"] and (refusal := tokens.refusal(conn, known, asking, now_s, quiet_s)):
        identity.refused(conn, known, asking.address, now_s)
        return False, refusal
    if new or not known["claimed"]:
        tokens.end(conn, key)  # they stayed so that it was told so
    claimed = not found["by_hand"] if new else known["claimed"]
    kept = asking if claimed else replace(asking, properties=_that_fit(asking.properties))
    queries.register(conn, key, kept, claimed, now_s, new)
    if claimed:
        awaited = not new and known["awaited"]
        restarted = not new and not awaited and tokens.restarted(conn, known, asking.asked)
        origin = tokens.RESTARTED if restarted else tokens.REGISTERED
        tokens.give(conn, token, key, now_s, origin, asking.asked, replaces=awaited)
    changes.note(conn, now_s, key)
    return claimed, None


def _that_fit(properties):
    """Those of `properties` that there is room for in UNCLAIMED_BYTES."""
    kept, left = {}, UNCLAIMED_BYTES
    for name, value in properties.items():
        size = len(messages.dumped({name: value}))
        if size <= left:
            kept[name] = value
            left -= size
    return kept


def _crowded(conn, product, now_s, most):
    """How many seconds a new device of the product has to wait, None where there is room. Told of once an hour."""
    within = devices.c.first_s.between(now_s - _HOUR_S + 1, now_s + update_states.AHEAD_S)  # later ones are by a clock that was wrong
    recent = sa.select(devices.c.first_s).where(devices.c.product == product, within)
    oldest_s = most and conn.execute(recent.order_by(devices.c.first_s.desc()).offset(most - 1).limit(1)).scalar()
    if not oldest_s:
        return None
    told = "crowded " + product
    if abs(now_s - counters.one(conn, told)) >= _HOUR_S:
        counters.put(conn, told, now_s)
        audit.note(conn, now_s, audit.CLOUD, "product.many_new", product, devices=most, within_s=_HOUR_S)
    return min(_HOUR_S, oldest_s + _HOUR_S - now_s + 1)


def register_by_hand(site, product, id):
    """The operator wants a token for device `id` of `product` (an id); its first use ends those before it. The token."""
    asking = Registration(product, messages.registration({"id": id}).id, {"id": id}, "")
    token, key = tokens.drawn(site.random_bytes), _key(site)
    site.database.write(_register_by_hand, key, asking, token, site.now_s(), site.who)
    return token


def _register_by_hand(conn, key, asking, token, now_s, who):
    known = queries.device_of(conn, asking.product, asking.id)
    key = known["key"] if known else key
    new = known is None or known["removed_s"] is not None
    if new:
        tokens.end(conn, key)
    queries.register(conn, key, asking, True, now_s, new)
    conn.execute(devices.update().where(devices.c.key == key).values(vouched=True))
    tokens.give(conn, token, key, now_s, tokens.BY_HAND, replaces=True)
    changes.note(conn, now_s, key)
    audit.note_device(conn, now_s, who, "device.new", key)


def report(site, token, fields):
    """A device tells what became of an update. Repeated, late and unknown ones are counted and change nothing else."""
    now_s = site.now_s()
    _authenticated(site, now_s, _report, token, messages.report(fields), now_s)
    return {}


def _authenticated(site, now_s, function, *arguments):
    """function(conn, *arguments), which takes a token; of one that another has replaced the operator is told."""
    try:
        site.database.write(function, *arguments)
    except tokens.Late as e:
        site.database.write(tokens.used_late, e.hash, now_s)
        raise


def _report(conn, token, said, now_s):
    device = tokens.authenticate(conn, token, said.id, now_s)["device"]
    product = conn.execute(devices.update().where(devices.c.key == device).values(reported_s=now_s).returning(devices.c.product)).scalar()
    release = queries.release(conn, said.update)
    if release is None or release["product"] != product:
        queries.unknown_report(conn, device)
        return
    grant = grants.of(conn, device).get(said.update)
    # Strangers do not count their attempts: theirs is the one that the cloud is at.
    attempt = said.attempt or (grant.tries if grant else 1)
    row = {"success": said.success, "reason": said.reason, "version": said.version, "received_s": now_s}
    news = grant is not None and grants.reported(conn, device, said.update, said.state, attempt, now_s, said.reason)
    queries.add_report(conn, device, said.update, attempt, said.state, row, news)


def mqtt(site, token, fields):
    """A device wants a certificate for MQTT, as Ioto's C agent does before its first update check, and waits until it has one.

    There is no MQTT broker: with an empty certificate and no `endpoint` it goes on to its updates and connects to none.
    """
    now_s = site.now_s()
    _authenticated(site, now_s, tokens.authenticate, token, messages.registration(fields).id, now_s)
    return {"certificate": "", "key": ""}


def image(site, update, expires, signature):
    """(open file, release) behind a link. Refusal 403 if the link does not hold, OSError if the file can't be read."""
    site.links.check(update, expires, signature)
    release = site.database.read(queries.release, update)
    if release is None:
        raise Refusal(404, "update: no update has this id")
    return site.images.open(release["checksum"]), release
