"""What the cloud answers a device: registration, report, image; checkin.py has the rest. Functions of a site, a token and a parsed body.

Each is one transaction; what it changes is on the disk before the device hears of it. What is drawn at random, and what
time it is, is settled before the transaction begins.
"""

import json

from . import audit, changes, database, grants, tokens, wire
from .refusal import Refusal


def register(site, product, fields, base_url):
    """A device asks for its API and token with its product's id. Body of the answer. tokens.py has what a known id may.

    A device that nobody has claimed gets neither, and asks again.
    """
    wanted = wire.registration(fields)
    token = tokens.drawn(site.random_bytes)
    if not site.database.write(_register, product, wanted.id, fields, token, site.now_s(), site.quiet_s):
        return {"registered": True, "id": wanted.id}
    return {"api": base_url, "token": token, "registered": True}


def _register(conn, product, id, fields, token, now_s, quiet_s):
    """Is the device claimed, so that the token is its own?"""
    found = database.product_by_id(conn, product)
    if found is None:
        raise Refusal(401, "Authorization: no product has this id: see `ioto product list`")
    known = database.device(conn, id)
    gone = known is None or known["removed_s"] is not None
    if gone or not known["claimed"]:
        tokens.end(conn, id)  # they stayed so that it was told so
    if not gone:
        _own(known, found)
        tokens.may_register(conn, known, now_s, quiet_s)
    claimed = not found["by_hand"] if gone else known["claimed"]
    database.register(conn, id, found["id"], json.dumps(fields), claimed, now_s)
    if claimed:
        tokens.give(conn, token, id, now_s)
    changes.note(conn, now_s, id)
    return claimed


def register_by_hand(site, product, id):
    """The operator wants a token for device `id`; its first use ends those before it. The token."""
    wanted = wire.registration({"id": id})
    token = tokens.drawn(site.random_bytes)
    site.database.write(_register_by_hand, product, wanted.id, token, site.now_s(), site.who)
    return token


def _register_by_hand(conn, product, id, token, now_s, who):
    found = database.product_by_id(conn, product)
    known = database.device(conn, id)
    if known and known["removed_s"] is None:
        _own(known, found)
    database.register(conn, id, found["id"], json.dumps({"id": id}), True, now_s)
    tokens.give(conn, token, id, now_s, replaces=True)
    changes.note(conn, now_s, id)
    audit.note(conn, now_s, who, "device.new", id, product=found["name"])


def report(site, token, fields):
    """A device tells what became of an update. Repeated, late and unknown ones are counted and change nothing else."""
    site.database.write(_report, token, wire.report(fields), site.now_s())
    return {}


def _report(conn, token, said, now_s):
    tokens.authenticate(conn, token, said.id, now_s)
    device = database.device(conn, said.id)
    release = database.release(conn, said.update)
    if release is None or release["product"] != device["product"]:
        database.unknown_report(conn, said.id)
        return
    grant = grants.of(conn, said.id).get(said.update)
    # Strangers do not count their attempts: theirs is the one that the cloud is at.
    attempt = said.attempt or (grant.tries if grant else 1)
    row = {"success": said.success, "reason": said.reason, "version": said.version, "received_s": now_s}
    new = database.add_report(conn, said.id, said.update, attempt, said.state, row)
    if new and grant:
        grants.reported(conn, said.id, said.update, said.state, attempt, now_s)


def mqtt(site, token, fields):
    """A device wants a certificate for MQTT, as Ioto's C agent does before its first update check, and waits until it has one.

    There is no MQTT broker: with an empty certificate and no `endpoint` it goes on to its updates and connects to none.
    """
    site.database.write(tokens.authenticate, token, wire.registration(fields).id, site.now_s())
    return {"certificate": "", "key": ""}


def image(site, update, expires, signature):
    """(open file, release) behind a link. Refusal 403 if the link does not hold, OSError if the file can't be read."""
    site.links.check(update, expires, signature)
    release = site.database.read(database.release, update)
    if release is None:
        raise Refusal(404, "no update has this id")
    return site.images.open(release["checksum"]), release


def _own(device, product):
    """An id belongs to the product it first registered with, until the operator removes the device."""
    if device["product"] != product["id"]:
        raise Refusal(409, "id: device %s is of another product: `ioto device remove` it there first" % device["id"])
