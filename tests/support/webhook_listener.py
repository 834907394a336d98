"""A server to which webhooks post."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Listener(ThreadingHTTPServer):
    """An HTTP server that records its requests.

    `received`: [(headers, body)]; `answers`: statuses, the last one for all further requests; `hold`: while it is not
    set, no request is answered.
    """

    def __init__(self):
        self.received, self.answers, self.hold, self.arrived = [], [200], threading.Event(), threading.Semaphore(0)
        self.hold.set()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = "http://127.0.0.1:%d/hook?x=1" % self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((dict(self.headers), body))
        self.server.arrived.release()
        self.server.hold.wait(20)
        status = self.server.answers[0] if len(self.server.answers) == 1 else self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass
