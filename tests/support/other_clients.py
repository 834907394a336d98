"""Strict stand-ins for clients that are not part of this project, written from docs/protocol.md.

The clients are EmbedThis' updater programs in C, Node.js and shell, and Ioto's C agent. Each calls `cloud`, a function
(method, url, headers, body) -> (status, list of headers as pairs in their original spelling, body), which replaces the
TLS proxy in front of the device cloud. Each raises Complaint where the real client would give up.
"""

import hashlib
import json

MOST_BYTES = 100 * 1024 * 1024
MOST_TOKEN = 206  # characters that fit into a header line


class Complaint(Exception):
    """The client gives up."""


def c_updater(cloud, host, product, token, device, version, properties=None, comma=False):
    """The C program: it searches replies as text, for `"key":` without a space and for usual header names.

    Properties are strings. `comma`: the older program, which sends a trailing comma if there are no properties. Returns
    the image, or None if there is none.
    """
    _room(token)
    pairs = {"id": device, "product": product, "version": version, **(properties or {})}
    body = "{%s%s}" % (",".join('"%s":"%s"' % pair for pair in pairs.items()), "," if comma else "")
    headers = {"Content-Type": "application/json", "Authorization": token}
    reply = _c_fetch(cloud, "POST", host + "/tok/provision/update", headers, body)
    url = _c_value(reply, "url")
    if url is None:
        return None
    checksum, update, new = (_c_value(reply, key) for key in ("checksum", "update", "version"))
    if not (checksum and update and new):
        raise Complaint("incomplete")
    if not url.startswith("https://"):
        raise Complaint("no https")
    image = _c_fetch(cloud, "GET", url, {"Accept": "*/*"}, None, text=False)
    good = hashlib.sha256(image).hexdigest() == checksum
    report = '{"success":%s,"id":"%s","update":"%s"}' % ("true" if good else "false", device, update)
    _c_fetch(cloud, "POST", host + "/tok/provision/updateReport", headers, report)
    return image


def _c_fetch(cloud, method, url, headers, body, text=True):
    status, got, reply = cloud(method, url, headers, (body or "").encode())
    if status != 200:
        raise Complaint("status %d %s" % (status, reply[:80]))
    if not text and ("Connection", "close") not in got:
        raise Complaint("it reads until the connection is closed, but the connection stays open")
    if (
        not got or got[-1][0] == "Content-Length"
    ):  # the program removes the empty line, and with it the end of the last header line
        raise Complaint("Content-Length is the last header")
    length = [value for name, value in got if name == "Content-Length"]
    if not length or not 0 <= int(length[0]) <= MOST_BYTES or int(length[0]) != len(reply):
        raise Complaint("Content-Length")
    return reply.decode() if text else reply


def _c_value(text, key):
    _, found, rest = text.partition('"%s":' % key)
    if not found:
        return None
    if rest.startswith('"'):
        return rest[1:].partition('"')[0]
    return rest.replace("}", ",").partition(",")[0]


def node_updater(cloud, host, product, token, device, version, properties=None):
    """The Node.js program: it parses JSON, sends properties as strings, and gives up at any status but 2xx."""
    headers = {"Authorization": token, "Content-Type": "application/json"}
    fields = {"id": device, "product": product, "version": version, **(properties or {})}
    status, _, reply = cloud(
        "POST", host + "/tok/provision/update", headers, json.dumps(fields, separators=(",", ":")).encode()
    )
    if not 200 <= status < 300:
        raise Complaint("status %d %s" % (status, reply[:80]))
    if not reply.strip():
        return None
    found = json.loads(reply)
    if not found.get("url"):
        return None
    _four_fields(found)
    status, got, image = cloud("GET", found["url"], {}, b"")
    if not 200 <= status < 300:
        raise Complaint("image %d" % status)
    _length(got)
    if hashlib.sha256(image).hexdigest() != found["checksum"]:
        raise Complaint("checksum")
    report = {"success": True, "id": device, "update": found["update"]}
    status, _, _ = cloud("POST", host + "/tok/provision/updateReport", headers, json.dumps(report).encode())
    if not 200 <= status < 300:
        raise Complaint("report %d" % status)
    return image


def _room(token):
    if len(token) > MOST_TOKEN:
        raise Complaint("token of %d characters" % len(token))


def _length(headers):
    length = {name.lower(): value for name, value in headers}.get("content-length", "")
    if not length.isdigit() or int(length) > MOST_BYTES:
        raise Complaint("Content-Length %r" % length)


def _four_fields(found):
    if not all(found.get(key) and isinstance(found[key], str) for key in ("checksum", "update", "version")):
        raise Complaint("incomplete")
    if not found["url"].startswith("https://"):
        raise Complaint("no https")


def shell_updater(cloud, host, product, token, device, version, properties=None):
    """The shell program, on `curl -f`: it sends JSON over several lines, and `success` as a string."""
    headers = {"Authorization": token, "Content-Type": "application/json"}
    pairs = {"id": device, "product": product, "version": version, **(properties or {})}
    body = "{\n" + ",\n".join('    "%s":"%s"' % pair for pair in pairs.items()) + "\n}\n"
    status, _, reply = cloud("POST", host + "/tok/provision/update", headers, body.encode())
    if status >= 400:
        raise Complaint("status %d %s" % (status, reply[:80]))
    found = json.loads(reply)
    if reply.strip() == b"{}" or not found.get("url"):
        return None
    _four_fields(found)
    status, got, image = cloud("GET", found["url"], {"User-Agent": "curl/7.88.1", "Accept": "*/*"}, b"")
    if status >= 400:
        raise Complaint("image %d" % status)
    _length(got)
    success = "true" if hashlib.sha256(image).hexdigest() == found["checksum"] else "false"
    report = '{\n    "success":"%s",\n    "id":"%s",\n    "update":"%s"\n}\n' % (success, device, found["update"])
    status, _, _ = cloud("POST", host + "/tok/provision/updateReport", headers, report.encode())
    if status >= 400:
        raise Complaint("report %d" % status)
    return image


class IotoAgent:
    """Ioto's C agent: it registers with its product, saves the reply, sends real JSON types, and never reports.

    If the whole error text is one of two texts, it deletes its registration.
    """

    def __init__(self, cloud, builder, product, device, mqtt=False, keeps=True):
        self.mqtt = mqtt
        self.cloud = cloud
        self.builder = builder
        self.product = product
        self.device = device
        self.keeps = keeps  # False: its id is fixed, and it does not save the reply
        self.provision = {}
        self.starts = 0

    def restart(self):
        """Start the program again, after it has ended, or after an update with the answer `restart`."""
        if not self.keeps:
            self.provision = {}

    def register(self):
        headers = {"Authorization": "bearer " + self.product, "Content-Type": "application/json"}
        self.starts += 1
        body = {**self.device, "created": "2026-03-%02dT10:00:00.000Z" % (1 + self.starts % 28)}
        status, _, reply = self.cloud("POST", self.builder + "/device/register", headers, json.dumps(body).encode())
        found = json.loads(reply)
        if status != 200 or not isinstance(found, dict) or len(found) < 2:
            raise Complaint("cannot register: %s" % reply[:80])
        _room(found.get("token", ""))
        self.provision = found
        if self.mqtt:
            self.certificate()

    def certificate(self):
        """Get a certificate, the first step with MQTT. A reply with `endpoint`, which makes it connect, is refused."""
        headers = {"Authorization": "bearer " + self.provision["token"], "Content-Type": "application/json"}
        body = json.dumps({"id": self.device["id"]}).encode()
        status, _, reply = self.cloud("POST", self.provision["api"] + "/tok/device/provision", headers, body)
        found = json.loads(reply) if status == 200 else {}
        if (
            not isinstance(found.get("certificate"), str)
            or not isinstance(found.get("key"), str)
            or "endpoint" in found
        ):
            raise Complaint("no certificate: %d %s" % (status, reply[:80]))

    def update(self, version):
        """The image; None if there is none or the agent has just deleted its registration."""
        if not (self.provision.get("api") and self.provision.get("token")):
            self.register()
        headers = {"Authorization": "bearer " + self.provision["token"], "Content-Type": "application/json"}
        body = {**self.device, "version": version, "iotoVersion": "2.7.0"}
        status, _, reply = self.cloud(
            "POST", self.provision["api"] + "/tok/provision/update", headers, json.dumps(body).encode()
        )
        if status != 200:
            if reply in (b"Cannot find device", b"Authentication failed"):
                self.provision = {}
                return None
            raise Complaint("status %d %s" % (status, reply[:80]))
        found = json.loads(reply)
        if "url" not in found:
            return None
        status, _, image = self.cloud("GET", found["url"], {}, b"")
        if status != 200 or hashlib.sha256(image).hexdigest() != found["checksum"]:
            raise Complaint("image %d" % status)
        return image
