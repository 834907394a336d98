"""The systemd unit of this cloud, from the template ioto-cloud.service in this folder. Pure."""

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from ..http.errors import CloudError

_LAST_RESERVED_PORT = 1023  # binding to this port or a lower one requires a capability


def unit(user: str, data: str | Path, program: str, arguments: Sequence[str], port: int) -> str:
    """The text of the unit that runs `program arguments...` as `user`.

    `data`: the site's folder; `port`: the server's. CloudError if a value cannot be written in a unit.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_-]*", user):
        raise CloudError("user %r: expected: the name of a user of this machine, such as ioto" % user)
    values = {
        "USER": user,
        "DATA": _quoted(str(Path(data).absolute())),
        "COMMAND": " ".join(_quoted(word).replace("$", "$$") for word in (program, *arguments)),
        "CAPABILITIES": "CAP_NET_BIND_SERVICE" if 0 < port <= _LAST_RESERVED_PORT else "",
    }
    template = files(__package__).joinpath("ioto-cloud.service").read_text()
    return re.sub("@([A-Z]+)@", lambda found: values[found[1]], template)


def _quoted(word: str) -> str:
    """Quote `word` for systemd, and escape specifiers (%) in it. Only command lines have variables ($)."""
    if not word.isprintable():
        raise CloudError("%r: expected: printable characters" % word)
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"%s"' % word if re.search(r"[\s'\"\\;]", word) or not word else word
