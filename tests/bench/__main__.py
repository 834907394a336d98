"""`make bench`: the figures of docs/figures.md. `python -m tests.bench cloud` and so on: one part of them.

`python -m tests.bench profile` shows where a check-in's time goes; it is no figure.
"""

import importlib
import sys

PARTS = ("agent", "cloud", "images", "policy")


def main():
    for part in sys.argv[1:] or PARTS:
        if part not in (*PARTS, "profile"):
            raise SystemExit("%s: wanted: %s, profile" % (part, ", ".join(PARTS)))
        print("-- %s" % part, flush=True)
        importlib.import_module("." + part, __package__).main()


main()
