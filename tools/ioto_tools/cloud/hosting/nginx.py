"""The nginx configuration for this cloud, from the template nginx.conf in this folder. Pure."""

import re
from importlib.resources import files
from pathlib import Path

from ..http.errors import CloudError


def nginx_configuration(
    server_name: str,
    certificate: str | Path,
    key: str | Path,
    data: str | Path,
    listen: str = "443",
    upstream: str = "127.0.0.1:8080",
) -> str:
    """The text of the configuration. `data`: the site's folder.

    CloudError if a value contains characters that are special to nginx.
    """
    values = {
        "SERVER_NAME": server_name,
        "CERTIFICATE": Path(certificate).absolute(),
        "KEY": Path(key).absolute(),
        "IMAGES": Path(data).absolute() / "images",
        "LISTEN": listen,
        "UPSTREAM": upstream,
    }
    for name, value in values.items():
        if not re.fullmatch(r"[^\s;{}\"'$\\#]+", str(value)):
            raise CloudError(
                "%s %s: expected: no spaces, and none of ; { } \" ' $ \\ #" % (name.lower().replace("_", " "), value)
            )
    return re.sub(
        "@([A-Z_]+)@", lambda found: str(values[found[1]]), files(__package__).joinpath("nginx.conf").read_text()
    )
