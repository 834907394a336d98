"""What the cloud answers a device: registration, check-in, report. Functions of a site, a token and a parsed body.

Each is one transaction; what it changes is on the disk before the device hears of it. What is drawn at random, and what
time it is, is settled before the transaction begins.
"""

import base64
import hashlib
import json

from ioto import semver

from . import database, links, selection, wire
from .refusal import Refusal, authentication_failed, cannot_find_device

TOKEN_BYTES = 30  # 40 characters


def register(site, product, fields, base_url):
    """A device asks for its API and token with its product's id. Body of the answer.

    Somebody who registers a known id again gets a second token; the first use of it ends the first token. So an answer
    that was lost does no harm, a board with erased flash comes back by itself, and a board whose token somebody else took
    over notices it at its next check-in and registers again: `registrations` in `ioto device show` counts it all.
    """
    wanted = wire.registration(fields)
    token = _text(site.random_bytes(TOKEN_BYTES))
    site.database.write(_register, product, wanted.id, fields, token, site.now_s())
    return {"api": base_url, "token": token, "registered": True}


def _register(conn, product, id, fields, token, now_s):
    found = database.product_by_id(conn, product)
    if found is None:
        raise Refusal(401, "Authorization: no product has this id: see `ioto product list`")
    _own(database.device(conn, id), found)
    database.register(conn, id, found["id"], json.dumps(fields), now_s)
    database.give_token(conn, _hash(token), id, now_s)


def check_in(site, token, fields, base_url):
    """A device tells what it is; body of the answer, {} or the update it is offered."""
    said = wire.check_in(fields)
    releases = site.database.write(_check_in, token, said, fields, site.now_s())
    if not semver.is_valid(said.version):
        # The device is none the worse for it: no update, and its developer and the operator can see why.
        return {"warning": "version: %s is no SemVer 2.0 version, nothing can be newer" % said.version}
    offered = selection.offer(releases, said.version)
    return selection.reply(offered, offered and image_url(site, base_url, offered))


def _check_in(conn, token, said, fields, now_s):
    device = _authenticate(conn, token, said.id, now_s)
    if said.product not in (None, device["product"], device["product_name"]):
        raise Refusal(403, "product: device %s is of product %s" % (said.id, device["product_name"]))
    database.checked_in(conn, said.id, said.version, json.dumps(fields), now_s)
    return database.releases_of(conn, device["product"])


def report(site, token, fields):
    """A device tells what became of an update. Repeated, late and unknown ones are counted and change nothing else."""
    site.database.write(_report, token, wire.report(fields), site.now_s())
    return {}


def _report(conn, token, said, now_s):
    device = _authenticate(conn, token, said.id, now_s)
    release = database.release(conn, said.update)
    if release is None or release["product"] != device["product"]:
        database.unknown_report(conn, said.id)
        return
    row = {"success": said.success, "reason": said.reason, "version": said.version, "received_s": now_s}
    database.add_report(conn, said.id, said.update, said.attempt, said.state, row)


def image_url(site, base_url, release):
    """Where a device gets the image: from the store itself if it has links of its own, else from this cloud."""
    site.links.refresh(links.READ_S)
    return base_url + site.links.path(release["id"])


def image(site, update, expires, signature):
    """(open file, release) behind a link. Refusal 403 if the link does not hold, OSError if the file can't be read."""
    site.links.check(update, expires, signature)
    release = site.database.read(database.release, update)
    if release is None:
        raise Refusal(404, "no update has this id")
    return site.images.open(release["checksum"]), release


def _authenticate(conn, token, id, now_s):
    """The device `id` if `token` is its own."""
    hash = _hash(token)
    found = database.token(conn, hash)
    if found is None or found["device"] != id:
        raise authentication_failed()
    device = database.device(conn, id)
    if device["removed_s"] is not None:
        raise cannot_find_device()
    if found["used_s"] is None:
        database.token_used(conn, hash, id, now_s)
    return device


def _own(device, product):
    """An id belongs to the product it first registered with, until the operator removes the device."""
    if device and device["removed_s"] is None and device["product"] != product["id"]:
        raise Refusal(409, "id: device %s is of another product: `ioto device remove` it there first" % device["id"])


def _hash(token):
    # A token is 240 random bits: a plain hash can't be turned round, and needs no salt.
    return hashlib.sha256(token.encode()).hexdigest()


def _text(random):
    return base64.urlsafe_b64encode(random).decode()
