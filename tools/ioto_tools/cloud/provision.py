"""What the cloud answers a device: registration, check-in, report. Functions of a site, a token and a parsed body.

Each is one transaction; what it changes is on the disk before the device hears of it. What is drawn at random, and what
time it is, is settled before the transaction begins.
"""

import json

from ioto import semver

from . import audit, database, links, selection, tokens, wire
from .refusal import Refusal


def register(site, product, fields, base_url):
    """A device asks for its API and token with its product's id. Body of the answer. tokens.py has what a known id may."""
    wanted = wire.registration(fields)
    token = tokens.drawn(site.random_bytes)
    site.database.write(_register, product, wanted.id, fields, token, site.now_s(), site.quiet_s)
    return {"api": base_url, "token": token, "registered": True}


def _register(conn, product, id, fields, token, now_s, quiet_s):
    found = database.product_by_id(conn, product)
    if found is None:
        raise Refusal(401, "Authorization: no product has this id: see `ioto product list`")
    known = database.device(conn, id)
    if known and known["removed_s"] is not None:
        tokens.end(conn, id)  # they stayed so that it was told so
    elif known:
        _own(known, found)
        tokens.may_register(conn, known, now_s, quiet_s)
    database.register(conn, id, found["id"], json.dumps(fields), now_s)
    tokens.give(conn, token, id, now_s)


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
    database.register(conn, id, found["id"], json.dumps({"id": id}), now_s)
    tokens.give(conn, token, id, now_s, replaces=True)
    audit.note(conn, now_s, who, "device.new", id, product=found["name"])


def check_in(site, token, fields, base_url):
    """A device tells what it is; body of the answer, {} or the update it is offered."""
    said = wire.check_in(fields)
    drawn = tokens.drawn(site.random_bytes)
    releases, renewed = site.database.write(_check_in, token, drawn, said, fields, site.now_s())
    more = {"token": drawn} if renewed else {}
    if not semver.is_valid(said.version):
        # The device is none the worse for it: no update, and its developer and the operator can see why.
        return {"warning": "version: %s is no SemVer 2.0 version, nothing can be newer" % said.version, **more}
    offered = selection.offer(releases, said.version)
    return {**selection.reply(offered, offered and image_url(site, base_url, offered)), **more}


def _check_in(conn, token, drawn, said, fields, now_s):
    if said.product is not None and not database.product(conn, said.product):
        # A database of other devices, perhaps an empty one by mistake: nobody is to forget himself.
        raise Refusal(403, "product: %s is not here" % said.product)
    found = tokens.authenticate(conn, token, said.id, now_s)
    device = database.device(conn, said.id)
    if said.product not in (None, device["product"], device["product_name"]):
        raise Refusal(403, "product: device %s is of product %s" % (said.id, device["product_name"]))
    database.checked_in(conn, said.id, said.version, json.dumps(fields), now_s)
    return database.releases_of(conn, device["product"]), tokens.renewed(conn, found, drawn, now_s)


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
    row = {"success": said.success, "reason": said.reason, "version": said.version, "received_s": now_s}
    database.add_report(conn, said.id, said.update, said.attempt, said.state, row)


def image_url(site, base_url, release):
    """Where a device gets the image: from the store itself if it has links of its own, else from this cloud."""
    site.links.refresh(links.READ_S)
    return site.links.url(base_url, release["id"], release["checksum"])


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
