"""The agent: sizes, heap, instructions and flash operations."""

import shutil

from .measure import Server, instructions, run, sizes

TRUST = (("pss", "release"), ("certs", "clock"))


def main():
    shipped, alone = sizes()
    always = shipped["__init__.mpy"] + shipped["start.mpy"] + shipped["agent.mpy"]
    print(
        "Compiled size of the agent on an ESP32: %d bytes, of which %d stay loaded (__init__, start, agent)"
        % (sum(shipped.values()), always)
    )
    for name, size in shipped.items():
        print("  %-14s %6d" % (name, size))
    print("Each module compiled separately")
    for name, size in sorted(alone.items(), key=lambda each: -each[1]):
        print("  %-14s %6d" % (name, size))
    print(
        "Of these, for signatures: %d; for verifying servers and getting the time: %d"
        % tuple(sum(alone[name] for name in names) for names in TRUST)
    )
    (taken, *_), _ = run("load", 0, 0)
    print("Heap used by the loaded agent, with eight-byte pointers: %d bytes" % taken)
    with Server() as port:
        (few, *_), _ = run("alloc", port, 20, heap="8m")
        (many, *_), _ = run("alloc", port, 120, heap="8m")
        print("Heap allocated for each 4 KiB block: %d bytes" % ((many - few) // 100))
        (_, erases, programs, reads, early, late), _ = run("heap", port, 410)
        print("Flash operations of 410 blocks: %d erases, %d programs, %d reads" % (erases, programs, reads))
        print("Heap in use at block 4: %d, at block 400: %d bytes (of 256 KiB)" % (early, late))
        if not shutil.which("valgrind"):
            print("Instructions: not counted, valgrind is not installed (apt-get install valgrind)")
            return
        ours, stream, socket = (instructions(mode, port) for mode in ("agent", "stream", "socket"))
        print("Instructions of each block: agent %d, bare loop on a stream %d (ratio %.2f), on a blocking socket %d "
              "(ratio %.2f)" % (
            ours, stream, ours / stream, socket, ours / socket))  # fmt: skip
    with Server(secure=True) as port:
        ours, socket = (instructions(mode, port) for mode in ("agent-tls", "socket-tls"))
        print("Over TLS: agent %d, on a blocking socket %d (ratio %.2f)" % (ours, socket, ours / socket))
