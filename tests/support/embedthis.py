"""Strict stand-in for EmbedThis' cloud: Builder, device cloud and image store as one ASGI application.

Each of the three has its own host name. The stand-in is written from docs/protocol.md alone, without any of this
project's extensions: replies are compact JSON with the protocol's fields only. A request that violates the protocol is
refused with 400 and recorded in `objections`; a test checks that this list is empty:

    cloud = EmbedThis("PRODUCT-ID")
    update = cloud.release("2.0.0", image)
    ... serve `cloud` as the hosts `cloud.builder`, `cloud.api` and `cloud.images` ...
    assert cloud.objections == [] and cloud.reports == [{"success": True, "id": ..., "update": update}]

The application needs no event loop: it awaits only `receive` and `send`.
"""

import hashlib
import json
import re

SEMVER = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?Z)?")
RANGE = re.compile(r"bytes=(\d+)-")


class Objection(Exception):
    pass


class EmbedThis:
    builder = "https://builder.embedthis.test/api"
    api = "https://a1b2c3.cloud.embedthis.test"
    images = "https://images.embedthis.test"

    def __init__(self, product, claimed=True, ranges=True):
        self.product = product
        self.claimed = claimed  # False: devices are registered, but get no `api` and `token`
        self.ranges = ranges  # False: the image store always sends the whole image
        self.devices = {}  # id -> {token, properties of the last registration or check-in}
        self.releases = {}  # update -> (version, image)
        self.reports = []  # bodies as received
        self.requests = []  # (method, host, path)
        self.objections = []

    def release(self, version, image):
        """Publish a release; return the update's id. The newest one is offered to devices with another version."""
        update = "01H%023d" % (len(self.releases) + 1)
        self.releases[update] = (version, image)
        return update

    def remove(self, id):
        """Remove the device. Its token stays valid, so that it receives `Cannot find device`."""
        self.devices[id]["removed"] = True

    def revoke(self, id):
        self.devices[id]["token"] = None

    # ---- ASGI

    async def __call__(self, scope, receive, send):
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        body = await self._body(headers, receive)
        self.requests.append((scope["method"], headers.get("host"), scope["path"]))
        try:
            status, extra, reply = self._answer(scope["method"], scope["path"], headers, body)
        except Objection as e:
            self.objections.append("%s %s: %s" % (scope["method"], scope["path"], e))
            status, extra, reply = 400, {}, b"Bad request"
        lines = [
            (name.encode(), value.encode())
            for name, value in {"content-length": str(len(reply)), "connection": "close", **extra}.items()
        ]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply})

    async def _body(self, headers, receive):
        body, more = b"", "content-length" in headers or "transfer-encoding" in headers
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return body

    def _answer(self, method, path, headers, body):
        routes = {"/device/register": self._register, "/api/device/register": self._register,
                  "/tok/provision/update": self._update, "/tok/provision/updateReport": self._report}  # fmt: skip
        if path.startswith("/image/"):
            return self._image(method, path, headers)
        if path not in routes:
            raise Objection("no such path")
        if method != "POST":
            raise Objection("method")
        return routes[path](headers, self._fields(headers, body))

    def _fields(self, headers, body):
        if headers.get("content-type") != "application/json":
            raise Objection("Content-Type %s" % headers.get("content-type"))
        if headers.get("content-length") != str(len(body)):
            raise Objection("Content-Length %s" % headers.get("content-length"))
        try:
            fields = json.loads(body)
        except ValueError as e:
            raise Objection("JSON: %s" % e) from e
        if not isinstance(fields, dict):
            raise Objection("not an object")
        return fields

    # ---- Builder

    def _register(self, headers, fields):
        if headers.get("authorization") != "bearer " + self.product:
            raise Objection("Authorization %s" % headers.get("authorization"))
        id = _string(fields, "id")
        if id == "auto":
            raise Objection("id auto")
        if not ISO_DATE.fullmatch(_string(fields, "created")):
            raise Objection("created %s" % fields["created"])
        # The Builder's documentation requires the product; in Ioto, device.json5 contains it.
        if _string(fields, "product") != self.product:
            raise Objection("product %s" % fields["product"])
        if not self.claimed:
            return _json({"id": id, "registered": True})
        token = hashlib.sha256(("%s %d" % (id, len(self.requests))).encode()).hexdigest()[:32]
        self.devices[id] = {"token": token, "properties": fields}
        return _json({"api": self.api, "token": token, "registered": True, "cloudType": "dedicated",
            "cloudName": "test",
                      "cloudRegion": "us-east-1", "accountId": "ACC1"})  # fmt: skip

    # ---- device cloud

    def _device(self, headers, fields):
        """(the device that owns the token, None), or (None, the error that makes it delete its registration)."""
        found = re.fullmatch(r"(?:bearer )?(\S+)", headers.get("authorization", ""))
        if not found:
            raise Objection("Authorization %s" % headers.get("authorization"))
        device = self.devices.get(_string(fields, "id"))
        if device is None or device["token"] != found[1]:
            return None, (401, {"content-type": "text/plain"}, b"Authentication failed")
        if device.get("removed"):
            return None, (404, {"content-type": "text/plain"}, b"Cannot find device")
        return device, None

    def _update(self, headers, fields):
        device, error = self._device(headers, fields)
        if error:
            return error
        if _string(fields, "product") != self.product:
            raise Objection("product %s" % fields["product"])
        if not SEMVER.fullmatch(_string(fields, "version")):
            raise Objection("version %s" % fields["version"])
        if not isinstance(fields.get("iotoVersion", ""), str):
            raise Objection("iotoVersion")
        device["properties"] = fields
        if not self.releases:
            return _json({})
        update, (version, image) = list(self.releases.items())[-1]
        if version == fields["version"]:
            return _json({})
        return _json({"url": "%s/image/%s?signature=s%%2F1&expires=9" % (self.images, update),
                      "checksum": hashlib.sha256(image).hexdigest(), "update": update, "version": version})  # fmt: skip

    def _report(self, headers, fields):
        device, error = self._device(headers, fields)
        if error:
            return error
        if not isinstance(fields.get("success"), bool):
            raise Objection("success %r" % (fields.get("success"),))
        if _string(fields, "update") not in self.releases:
            raise Objection("update %s" % fields["update"])
        self.reports.append(fields)
        return 200, {}, b""

    # ---- image store

    def _image(self, method, path, headers):
        if method not in ("GET", "HEAD"):
            raise Objection("method")
        if "authorization" in headers:
            raise Objection("the API's token was sent to another host")
        if path[len("/image/") :] not in self.releases:
            return 403, {}, b"<Error>AccessDenied</Error>"
        image = self.releases[path[len("/image/") :]][1]
        etag = '"%s"' % hashlib.md5(image).hexdigest()
        extra = {"content-type": "application/octet-stream", "etag": etag}
        wanted = RANGE.fullmatch(headers.get("range", ""))
        if not self.ranges or not wanted or headers.get("if-range", etag) != etag:
            return 200, extra, image
        start = int(wanted[1])
        if start >= len(image):
            return 416, {"content-range": "bytes */%d" % len(image)}, b""
        extra["content-range"] = "bytes %d-%d/%d" % (start, len(image) - 1, len(image))
        return 206, extra, image[start:]


def _string(fields, name):
    if not isinstance(fields.get(name), str) or not fields[name]:
        raise Objection("%s %r" % (name, fields.get(name)))
    return fields[name]


def _json(found):
    return 200, {"content-type": "application/json"}, json.dumps(found, separators=(",", ":")).encode()
