"""Static files, compressed once. Their paths contain a hash of the content, so browsers cache them for a year."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_YEAR_S = 365 * 24 * 3600


@dataclass(frozen=True)
class Asset:
    name: str
    hash: str
    type: str
    gzipped: bytes

    @property
    def path(self) -> str:
        """The path below /web/."""
        return "static/%s/%s" % (self.hash, self.name)


@cache
def asset(name: str) -> Asset:
    """The Asset with this name; KeyError if there is none."""
    path = _files()[name]
    body = path.read_bytes()
    return Asset(name, hashlib.sha256(body).hexdigest()[:12], _TYPES[path.suffix], gzip.compress(body, 9, mtime=0))


@cache
def _files() -> dict[str, Path]:
    return {path.name: path for path in FOLDER.iterdir() if path.suffix in _TYPES}


def path(name: str) -> str:
    return asset(name).path


async def serve(request: Request) -> Response:
    """Serve /web/static/HASH/NAME. With an old hash, the file is sent but not cached: an old page may still be open."""
    try:
        found = asset(request.path_params["name"])
    except KeyError:
        raise HTTPException(404, "no such file") from None
    fresh = request.path_params["hash"] == found.hash
    headers = {
        "cache-control": "public, max-age=%d, immutable" % _YEAR_S if fresh else "no-cache",
        "content-type": found.type + "; charset=utf-8",
        "x-content-type-options": "nosniff",
        "vary": "accept-encoding",
    }
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.gzipped, headers={**headers, "content-encoding": "gzip"})
    return Response(gzip.decompress(found.gzipped), headers=headers)
