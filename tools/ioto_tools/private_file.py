"""Files with something secret in them, as a Wi-Fi password: only their owner reads them."""

import os
from pathlib import Path


def write(path, raw):
    """Write `raw` to `path` with mode 0600, over what was there; all of it or nothing, and never readable by others meanwhile."""
    beside = Path(str(path) + ".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
        f.write(raw)
    beside.replace(path)
