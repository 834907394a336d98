"""Support for tests of configuration files: temporary folders, and checks of errors. Also runs on MicroPython."""

import os

from ioto import config
from ioto.config import ConfigError


class Folder:
    """A new folder for files, removed with its content after the `with`."""

    def __init__(self, **files):
        self.path = "/tmp/ioto-%s/" % "".join("%02x" % b for b in os.urandom(8))
        self.files = files

    def __enter__(self):
        os.mkdir(self.path[:-1])
        self.write("there", b"")
        for name, content in self.files.items():
            self.write(name.replace("_", "."), content)
        return self

    def write(self, name, content):
        with open(self.path + name, "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode())

    def remove(self, name):
        os.remove(self.path + name)

    def __exit__(self, *_):
        for name in os.listdir(self.path):
            os.remove(self.path + name)
        os.rmdir(self.path[:-1])


def nested(flat):
    found = {}
    for key, value in flat.items():
        inside = found
        parts = key.split(".")
        for part in parts[:-1]:
            inside = inside.setdefault(part, {})
        inside[parts[-1]] = value
    return found


def refused(text, *says):
    """Check that the error for a file with this content, by default ioto.json, contains each text in `says`."""
    with Folder(ioto_json=text) as folder:
        error = error_of(config.load, folder)
        for part in (folder.path + "ioto.json: ",) + says:
            assert part in error, (text, part, error)


def error_of(read, folder):
    try:
        return "accepted: %r" % read(folder.path)
    except ConfigError as e:
        return str(e)
