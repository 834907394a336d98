"""DNS queries and replies: made by hand, truncated at every byte, damaged at every bit."""

import hashlib
import struct

from ioto import dns

NUMBER = b"\x12\x34"
HOST = "cdn.Example.org"
QUERY = dns.query(NUMBER, HOST)
POINTER = b"\xc0\x0c"


def name(host):
    return b"".join([bytes([len(label)]) + label.encode() for label in host.split(".")]) + b"\0"


def record(owner, kind, ttl_s, data):
    return owner + struct.pack(">HHIH", kind, 1, ttl_s, len(data)) + data


def reply(records, flags=0x8180, number=NUMBER, question=QUERY[12:], count=None):
    count = len(records) if count is None else count
    return number + struct.pack(">HHHHH", flags, 1, count, 0, 0) + question + b"".join(records)


A = record(POINTER, 1, 300, bytes([192, 0, 2, 7]))
B = record(name("a.b.example.net"), 1, 60, bytes([192, 0, 2, 8]))
CNAME = record(POINTER, 5, 20, name("a.b.example.net"))
AAAA = record(POINTER, 28, 5, bytes(16))


def test_query():
    assert QUERY == NUMBER + b"\1\0\0\1\0\0\0\0\0\0\x03cdn\x07Example\x03org\0\0\1\0\1", QUERY
    assert dns.query(NUMBER, "x.") == dns.query(NUMBER, "x")


def test_answers():
    assert dns.answer(reply([A]), QUERY) == (["192.0.2.7"], 300)
    assert dns.answer(reply([CNAME, B, AAAA]), QUERY) == (["192.0.2.8"], 60)
    assert dns.answer(reply([A, B]), QUERY) == (["192.0.2.7", "192.0.2.8"], 60)
    assert dns.answer(reply([AAAA]), QUERY)[0] == []
    assert dns.answer(reply([], flags=0x8183), QUERY)[0] == []
    assert dns.answer(reply([A], question=QUERY[12:].lower()), QUERY) == (["192.0.2.7"], 300)


def test_foreign_answers_are_not_taken():
    assert dns.answer(reply([A], number=b"\x12\x35"), QUERY) is None
    assert dns.answer(reply([A], question=dns.query(NUMBER, "cdn.example.com")[12:]), QUERY) is None
    assert dns.answer(reply([A], flags=0x0180), QUERY) is None  # a question
    assert dns.answer(reply([A], flags=0xA980), QUERY) is None  # another kind of query
    assert dns.answer(QUERY, QUERY) is None
    assert dns.answer(b"", QUERY) is None


def test_error_codes_of_a_server():
    for code in range(1, 16):
        if code == 3:
            continue
        try:
            dns.answer(reply([], flags=0x8180 | code), QUERY)
        except OSError as e:
            assert str(code) in str(e), e
        else:
            raise AssertionError(code)


def test_cut_at_every_byte():
    whole = reply([CNAME, B, A])
    for n in range(len(whole)):
        assert dns.answer(whole[:n], QUERY) is None, n


def test_of_a_truncated_answer_the_addresses_before_the_cut_count():
    """Answers are cut at every byte, with the TC flag or by a buffer of 512 bytes. Other answers must be complete."""
    long = record(POINTER, 16, 9, bytes(500))
    for flags, records in ((0x8380, [CNAME, B, A, AAAA]), (0x8180, [CNAME, B, A, long])):
        whole = reply(records, flags=flags)
        ends = len(reply([CNAME, B])), len(reply([CNAME, B, A]))
        for n in range(len(whole) + 1):
            found = dns.answer(whole[:n], QUERY)
            if n < 512 and flags == 0x8180 or n < ends[0]:
                assert found is None, n
            else:
                assert found == (["192.0.2.8", "192.0.2.7"][: 1 + (n >= ends[1])], 60), (n, found)
    for records in ([], [CNAME], [AAAA]):  # a truncated answer does not prove that there is no address
        assert dns.answer(reply(records, flags=0x8380), QUERY) is None
        assert dns.answer(reply(records + [long]), QUERY) is None
    # the other checks also apply to truncated replies
    assert dns.answer(reply([A], flags=0x8380, number=b"\x12\x35"), QUERY) is None
    assert dns.answer(reply([A], flags=0x8380, question=dns.query(NUMBER, "cdn.example.com")[12:]), QUERY) is None


def outcome(data):
    try:
        return repr(dns.answer(data, QUERY))
    except OSError as e:
        return "OSError " + str(e)


def digest_every_bit_flipped():
    seen = hashlib.sha256()
    whole = reply([CNAME, B, A, AAAA])
    for at in range(len(whole)):
        for bit in range(8):
            spoilt = bytearray(whole)
            spoilt[at] ^= 1 << bit
            seen.update(outcome(bytes(spoilt)).encode())
    return "".join(["%02x" % b for b in seen.digest()])


def digest_garbage():
    seen = hashlib.sha256()
    state = 1
    for length in range(300):
        tail = bytearray()
        for _ in range(length):
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            tail.append(state >> 16 & 0xFF)
        seen.update(outcome(reply([bytes(tail)], count=state & 7)).encode())
        seen.update(outcome(bytes(tail)).encode())
    return "".join(["%02x" % b for b in seen.digest()])
