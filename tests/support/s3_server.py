"""An S3 server for tests: OpenStack Swift, which checks signatures as Amazon does, with a new bucket for each test."""

import itertools
import os
import subprocess
import sys
import tempfile
import urllib.request
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

KEY, SECRET = "test:tester", "testing"


class S3Server:
    """Runs swift_server.py. Skips the test if the temporary folder has no extended attributes."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="ioto-s3-")
        try:
            os.setxattr(self.folder.name, "user.test", b"")
        except OSError as e:
            pytest.skip(
                "%s has no extended attributes, which Swift needs (%s): set TMPDIR to a folder on ext4"
                % (self.folder.name, e)
            )
        script = Path(__file__).parent / "swift_server.py"
        command = [sys.executable, "-W", "ignore", str(script), self.folder.name]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.endpoint = "http://127.0.0.1:%d" % int(self.process.stdout.readline())
        self._names = map("bucket{}".format, itertools.count())

    def bucket(self):
        """The name of a new bucket."""
        name = next(self._names)
        url = obstore.sign(self.store(name), "PUT", "", timedelta(seconds=60))
        with urllib.request.urlopen(urllib.request.Request(url, b"", method="PUT")) as reply:
            assert reply.status == 200
        return name

    def store(self, bucket):
        client = {"allow_http": True}
        return S3Store(
            bucket,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=KEY,
            secret_access_key=SECRET,
            client_options=client,
        )

    def settings(self, **more):
        """Lines of a site.toml with a new bucket."""
        images = {
            "bucket": self.bucket(),
            "endpoint": self.endpoint,
            "access_key_id": KEY,
            "secret_access_key": SECRET,
            **more,
        }
        return "[images]\n" + "".join(
            "%s = %s\n" % (key, str(value).lower() if isinstance(value, bool) else '"%s"' % value)
            for key, value in images.items()
        )

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()
