"""Write files that contain secrets, such as a Wi-Fi password: only their owner can read them."""

import os
from pathlib import Path


def write(path: str | Path, raw: bytes) -> None:
    """Write `raw` to `path` atomically with mode 0600, which the file has from the start."""
    beside = Path(str(path) + ".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
        f.write(raw)
    beside.replace(path)
