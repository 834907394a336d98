"""A cloud in this process and in simulated time: days of a large fleet in minutes, and the same from one run to the next."""

from urllib.parse import urlsplit

from .fleet import Fleet
from .http import Reply


class Stepped:
    """Asks an ASGI application that waits for nothing (create_app with threads=False): the answer is there at once."""

    def __init__(self, app):
        self.app = app

    def ask(self, method, url, token, body, done, more="", sink=None):
        path, query = urlsplit(url)[2:4]
        headers = [(b"host", b"cloud.test")]
        if token:
            headers.append((b"authorization", b"bearer " + token.encode()))
        headers += [tuple(part.strip().encode() for part in line.split(":", 1)) for line in more.lower().splitlines()]
        reply = self.call(method, path, query, headers, body)
        if sink and reply.status < 300:
            sink(reply.body)
        done(reply)

    def call(self, method, path, query="", headers=(), body=b""):
        sent = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": headers, "server": ("cloud.test", 80), "client": ("127.0.0.1", 5000),
        }  # fmt: skip
        steps = self.app(scope, receive, send)
        try:
            steps.send(None)
        except StopIteration:
            pass
        else:
            steps.close()
            raise RuntimeError("%s %s: the application waits for something else than its client" % (method, path))
        start = sent[0]
        head = b"".join(b"\r\n%s: %s" % header for header in start["headers"]) + b"\r\n"
        return Reply(start["status"], head, b"".join(message.get("body", b"") for message in sent[1:]))


class Simulation:
    """A fleet and the time it lives in. `now_s` is the time of the clock that the application was made with."""

    def __init__(self, app, clock, settings):
        self.clock = clock
        self.fleet = Fleet(settings, "http://cloud.test", Stepped(app).ask, clock)

    def run(self, seconds):
        """`seconds` of simulated time go by."""
        ends_s = self.clock.now_s + seconds
        while (due_s := self.fleet.due_s()) is not None and due_s <= ends_s:
            self.clock.now_s = max(self.clock.now_s, due_s)
            self.fleet.step()
        self.clock.now_s = ends_s


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self, now_s=1_800_000_000.0):
        self.now_s = now_s

    def __call__(self):
        return self.now_s
