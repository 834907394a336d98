"""The host distribution and the agent's pure modules on the path."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
for folder in (ROOT / "lib", ROOT / "tools", Path(__file__).parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
