"""Writes files that contain secrets, such as a Wi-Fi password: only their owner can read them."""

import os
from pathlib import Path


def write(path: str | Path, raw: bytes) -> None:
    """Write `raw` to `path` with mode 0600, atomically, replacing an existing file; others can't read it at any
    time.
    """
    beside = Path(str(path) + ".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
        f.write(raw)
    beside.replace(path)
