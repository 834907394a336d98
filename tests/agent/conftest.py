"""Make the helper modules of this folder (rig.py and others) importable by its tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
