"""A power cut at any byte of a write leaves the old or the new record; invalid data is never accepted."""

import os

from ioto.recall import decode, empty
from ioto.record import Pair, encode

FOLDER = "/tmp/ioto-record-test-%s" % (
    "mp" if "micropython" in str(type(os)) or not hasattr(os, "getpid") else os.getpid()
)


def fresh():
    for suffix in (".0", ".1"):
        try:
            os.remove(FOLDER + suffix)
        except OSError:
            pass
    return Pair(FOLDER)


def put(path, raw):
    with open(path, "wb") as f:
        f.write(raw)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def test_saved_record_is_loaded():
    pair = fresh()
    assert pair.load() is None and not pair.damaged
    for i in range(5):
        pair.save_now({"i": i})
        again = Pair(FOLDER)
        assert again.load() == {"i": i} and again.seq == i + 1
    fresh()


def test_cut_at_every_byte_leaves_the_old_or_the_new_record():
    for before in range(1, 4):
        pair = fresh()
        for i in range(before):
            pair.save_now({"i": i})
        target = pair.paths[(pair.seq + 1) & 1]
        raw = encode(pair.seq + 1, {"i": before})
        for cut in range(len(raw) + 1):
            put(target, raw[:cut])
            found = Pair(FOLDER).load()
            assert found == {"i": before if cut == len(raw) else before - 1}, (before, cut)
    fresh()


def test_every_changed_byte_is_detected():
    raw = encode(7, {"phase": "idle", "n": 1})
    assert decode(raw) == (7, {"phase": "idle", "n": 1})
    for i in range(len(raw)):
        for flip in (1, 0x20, 0x80):
            spoilt = raw[:i] + bytes([raw[i] ^ flip]) + raw[i + 1 :]
            found = decode(spoilt)
            # accepted only if nothing but the case of the checksum's hexadecimal digits has changed
            assert found is None or spoilt.lower() == raw.lower(), (i, flip)


def test_invalid_files_are_damaged_and_empty_ones_are_not():
    for garbage in (
        b"{}",
        b"\0" * 100,
        b"[1,{}]\n00000000\n",
        b"\xff" * 4096,
        b"\n\n\n",
        encode(1, {})[:-1],
        b"[1,2]\n",
    ):
        pair = fresh()
        put(pair.paths[0], garbage)
        assert pair.load() is None and pair.damaged, garbage
        put(pair.paths[1], encode(3, {"a": 1}))
        assert pair.load() == {"a": 1}
    pair = fresh()
    put(pair.paths[0], b"")
    assert pair.load() is None and not pair.damaged
    fresh()


def test_started_save_is_finished_before_the_next():
    pair = fresh()
    pair.save_now({"i": 0})
    pair._going = pair._steps({"i": 1})
    next(pair._going)  # the file is open and still empty
    pair.save_now({"i": 2})
    assert pair.seq == 3
    assert decode(get(pair.paths[1])) == (3, {"i": 2})
    assert decode(get(pair.paths[0])) == (2, {"i": 1})
    fresh()


def test_full_record_is_stored():
    pair = fresh()
    record = empty()
    record.update(
        phase="staged", update={"update": "01J", "url": "https://x/" + "y" * 300}, reports=[{"state": "staged"}] * 16
    )
    pair.save_now(record)
    assert Pair(FOLDER).load() == record
    fresh()
