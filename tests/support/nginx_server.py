"""Runs the real nginx in front of `ioto cloud serve`, with the configuration that `ioto cloud nginx` prints.

The certificate is from a private authority.
"""

import http.client
import os
import shutil
import socket
import ssl
import subprocess
import time
from urllib.parse import urlsplit

import pytest
from ioto_tools.cloud.hosting.nginx import nginx_configuration
from ioto_tools.cloud.site import certificates

from tests.bench.servers import free_port

NAME = "updates.test"
PROGRAM = shutil.which("nginx", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
needed = pytest.mark.skipif(not PROGRAM, reason="nginx is not installed: apt-get install nginx-light")

_MAIN_CONFIGURATION = """%(user)s daemon off; pid %(folder)s/pid; error_log %(folder)s/error.log; worker_processes 1;
events { worker_connections 128; }
http { access_log off; client_body_temp_path %(folder)s/body; proxy_temp_path %(folder)s/proxy;
fastcgi_temp_path %(folder)s/fastcgi; uwsgi_temp_path %(folder)s/uwsgi; scgi_temp_path %(folder)s/scgi;
include %(folder)s/ioto.conf; %(more)s }
"""


class Nginx:
    """Context manager that runs nginx. request(method, url, headers, body) returns (status, headers, body)."""

    def __init__(self, folder, upstream, data, more=""):
        self.folder = folder
        folder.mkdir()
        certificates.make(folder / "tls", [NAME])
        self.context = ssl.create_default_context(cafile=folder / "tls" / "ca.pem")
        self.port = free_port()
        tls = folder / "tls"
        text = nginx_configuration(
            NAME, tls / "server.pem", tls / "server.key", data, "127.0.0.1:%d" % self.port, urlsplit(upstream).netloc
        )
        (folder / "ioto.conf").write_text(text.replace("/var/lib/nginx", str(folder)))
        user = "user root;" if os.geteuid() == 0 else ""  # otherwise its workers cannot read pytest's folders
        (folder / "nginx.conf").write_text(_MAIN_CONFIGURATION % {"user": user, "folder": folder, "more": more})

    def __enter__(self):
        self.process = subprocess.Popen(
            [PROGRAM, "-p", self.folder, "-c", self.folder / "nginx.conf", "-e", self.folder / "error.log"]
        )
        give_up = time.monotonic() + 20
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < give_up, self.errors()
            time.sleep(0.02)
        return self

    def _answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def __exit__(self, *exception):
        self.process.terminate()
        self.process.wait(20)

    def errors(self):
        return (self.folder / "error.log").read_text()

    def connection(self):
        raw = socket.create_connection(("127.0.0.1", self.port), 20)
        made = http.client.HTTPSConnection(NAME, self.port)
        made.sock = self.context.wrap_socket(raw, server_hostname=NAME)
        return made

    def request(self, method, url, headers, body=None):
        parts = urlsplit(url)
        assert (parts.scheme, parts.hostname) == ("https", NAME), url
        connection = self.connection()
        target = parts.path + ("?" + parts.query if parts.query else "")
        connection.request(method, target, body, {"Host": NAME, **headers})
        reply = connection.getresponse()
        found = reply.status, reply.getheaders(), reply.read()
        connection.close()
        return found
