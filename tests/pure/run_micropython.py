"""Run one function of a test file under MicroPython: run_micropython.py LIB FILE FUNCTION."""

import sys

lib, path, function = sys.argv[1:4]
sys.path.insert(0, lib)
folder, name = path.rsplit("/", 1)
sys.path.insert(0, folder)
result = getattr(__import__(name[:-3]), function)()
if result is not None:
    print("digest: " + result)
