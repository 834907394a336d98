"""`make bench` measures the figures of docs/figures.md, `python -m tests.bench cloud` one part of them.

Three parts run only if they are named: `profile` shows where a check-in spends its time, `millions` is `growth` with
five million devices, `stages` takes 100,000 devices through the stages of two releases.
"""

import importlib
import sys

PARTS = (
    "agent", "boards", "cloud", "growth", "heap", "images", "lists", "packed", "packed_device", "packed_fleet", "pages",
    "policy", "rollout", "tls",
)  # fmt: skip
MORE = ("millions", "profile", "stages")


def main():
    for part in sys.argv[1:] or PARTS:
        if part not in PARTS + MORE:
            raise SystemExit("unknown part %s: expected one of %s" % (part, ", ".join(PARTS + MORE)))
        print("-- %s" % part, flush=True)
        importlib.import_module("." + part, __package__).main()


main()
