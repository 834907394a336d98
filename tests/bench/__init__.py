"""Benchmarks: `python -m tests.bench`. They use the support modules of the tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
