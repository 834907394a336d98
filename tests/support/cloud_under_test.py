"""A device cloud without a server, whose clock and random numbers a test controls; valid images; the command line."""

import hashlib
import json
import os
import sys
from pathlib import Path

from ioto_tools.cloud.app import create_app
from ioto_tools.cloud.releases.publish import new_product, publish
from ioto_tools.image import esp
from site_kinds import InFolder

ROOT = Path(__file__).parent.parent.parent
PRODUCT = "PRODUCT7"
ENV = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT / "lib"), str(ROOT / "tools")]), COLUMNS="200")
COMMAND = [sys.executable, "-c", "from ioto_tools.cli import main; main()"]


def esp_image(text=b"a", size=1024):
    """A valid application image of `size` bytes (rounded down to a multiple of 16), different for each `text`."""
    return esp.make_image(size // 16 * 16, text.decode())


class Reply:
    def __init__(self, status, headers, chunks):
        self.status = status
        self.headers = {name.decode(): value.decode() for name, value in headers}
        self.chunks = chunks
        self.body = b"".join(chunks)

    def json(self):
        return json.loads(self.body)


def call(app, method, path, headers=None, body=b"", pieces=None, address="device.test"):
    """Send one request to the ASGI application, without an event loop; return the Reply.

    The application may await only `receive` and `send`. If given, `pieces` (an iterable of bytes) are sent as the body;
    a piece that is None disconnects the client.
    """
    path, _, query = path.partition("?")
    pieces = iter(pieces if pieces is not None else [body])
    sent = []

    async def receive():
        piece = next(pieces, b"")
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(b"host", b"cloud.test:8080")] + [(k.lower().encode(), v.encode("latin-1")) for k,
        v in (headers or {}).items()],
        "server": ("cloud.test", 8080), "client": (address, 5000),
    }  # fmt: skip
    steps = app(scope, receive, send)
    try:
        steps.send(None)
    except StopIteration:
        pass
    else:
        steps.close()
        raise AssertionError("the application awaits something other than receive and send")
    start = sent[0]
    return Reply(start["status"], start["headers"], [m.get("body", b"") for m in sent[1:]])


class Cloud:
    """A cloud in `folder` with one product; the test controls its clock and randomness."""

    def __init__(self, folder, kind=None, **options):
        self.now_s = 1_800_000_000
        self.drawn = 0
        options = {"public_url": "https://updates.test", "threads": False, "rate": 0, **options}
        (folder / "site").mkdir(parents=True, exist_ok=True)
        self.kind = kind or InFolder()
        (folder / "site" / "site.toml").write_text(self.kind.settings())
        self.app = create_app(folder / "site", clock=lambda: self.now_s, random_bytes=self.random, **options)
        self.site = self.app.state.site
        self.folder = folder
        new_product(self.site, "thermo", PRODUCT)

    def random(self, n):
        self.drawn += 1
        return hashlib.shake_128(b"%d" % self.drawn).digest(n)

    def publish(self, version, image=None, enabled=True, product="thermo", **said):
        """Publish an image. `said`: `by_hand` and the rollout's options; by default, devices may be of any age."""
        said.setdefault("age", "none")
        path = self.folder / "image.bin"
        path.write_bytes(esp_image(version.encode()) if image is None else image)
        by_hand = said.pop("by_hand", False)
        return publish(self.site, path, product, version, enabled=enabled, said=said, by_hand=by_hand)[0]

    def post(self, path, fields, authorization=None, address="device.test"):
        body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        headers = {"Content-Type": "application/json"}
        if authorization is not None:
            headers["Authorization"] = authorization
        return call(self.app, "POST", path, headers, body, address=address)

    def register(self, id, product=PRODUCT, address="device.test", **properties):
        return self.post(
            "/device/register",
            {"id": id, "created": "2026-01-01T00:00:00Z", **properties},
            "bearer " + product,
            address,
        )

    def check_in(self, id, token, version, **properties):
        fields = {"id": id, "product": PRODUCT, "version": version, **properties}
        return self.post("/tok/provision/update", fields, "bearer " + token)

    def report(self, id, token, update, success=True, **fields):
        return self.post(
            "/tok/provision/updateReport", {"id": id, "update": update, "success": success, **fields}, "bearer " + token
        )

    def device(self, id="D1", **said):
        """Register a device; return its token."""
        return self.register(id, **said).json()["token"]

    def link(self, update):
        """The path at which a device can fetch the image of `update` now."""
        return self.site.links.path(update)

    def has_image(self, checksum):
        """Does the image store have the image?"""
        try:
            self.site.images.open(checksum).close()
        except FileNotFoundError:
            return False
        return True

    def close(self):
        self.site.close()
