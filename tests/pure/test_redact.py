"""No secret leaves the device in a traceback or a log line."""

import os

from ioto.redact import hide, secrets

KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIJ1secretline1\noAoGCCqGSM49secretline2\n-----END EC PRIVATE KEY-----\n"
TOKEN = "tok_4fYq9sW2mZ8"
ISSUED = "q3uX-issued-0123456789"
BEFORE = "q3uX-before-987654321"
PASSWORD = "correct horse 'battery' \\staple"
PRODUCT = "BQAAWC4DR7XTQ2"
FILE = "redact-%s.key" % "".join(["%02x" % b for b in os.urandom(8)])


class Agent:
    config = {"token": TOKEN, "wifi.password": PASSWORD, "product": PRODUCT, "tls.key": FILE}
    provision = {"token": ISSUED, "was": {"token": BEFORE}, "api": "https://cloud.test"}


def found():
    with open(FILE, "w") as f:
        f.write(KEY)
    try:
        return secrets(Agent)
    finally:
        os.remove(FILE)


def hidden(text):
    return hide(text.encode(), found()).decode()


def test_each_secret_is_replaced_wherever_it_is():
    for secret in (TOKEN, ISSUED, BEFORE, PASSWORD, PRODUCT, "MHcCAQEEIIJ1secretline1", "oAoGCCqGSM49secretline2"):
        for text in ("%s", "a %s b", "a%sb", "%s%s", "('%s',)\n%s\n", "%r", "OSError(%r)", "Bearer %s", "k=%s&"):
            many = text.count("%")
            made = hidden(text % ((secret,) * many))
            assert secret not in made and repr(secret)[1:-1] not in made and "***" in made, (text, made)
        assert hidden("a %s b" % secret) == "a *** b"


def test_a_secret_that_was_cut_is_replaced():
    for secret in (TOKEN, ISSUED, BEFORE, PASSWORD, PRODUCT):
        for n in range(8, len(secret)):
            assert hidden("http_status: 401 " + secret[:n]) == "http_status: 401 ***"
            assert hidden("x%s, x" % secret[:n]) == "x***, x"


def test_query_strings_are_replaced():
    for text, expected in (
        ("https://a.test/image/1?expires=1&signature=9hC_ lost", "https://a.test/image/1?*** lost"),
        ("OSError('https://a.test/x?token=abc')", "OSError('https://a.test/x?***')"),
        ('GET "/x?a=1?b=2"', 'GET "/x?***"'),
        ("<a?b>(c?d)\ne?f", "<a?***>(c?***)\ne?***"),
        ("why? because. Really?", "why? because. Really?"),
    ):
        assert hidden(text) == expected, hidden(text)


def test_bearer_tokens_are_replaced():
    assert hidden("Authorization: bearer xyz123\r\nHost: a") == "Authorization: bearer ***\r\nHost: a"
    assert hidden("{'Authorization': 'Bearer xyz123'}") == "{'Authorization': 'Bearer ***'}"


def test_pem_blocks_are_replaced():
    assert hide(("a\n" + KEY + "b").encode(), []) == b"a\n***\nb"
    assert hide(b"a" + KEY.encode() * 2, []) == b"a***\n***\n"
    assert hide(repr(KEY).encode(), []) == b"'***\\n'"
    for n in range(10, len(KEY) - 6):  # a block that was cut
        assert hide(KEY[:n].encode(), []) in (b"***", KEY[:n].encode() if n < 10 else b"***"), n


def test_other_text_is_unchanged():
    text = 'Traceback (most recent call last):\n  File "main.py", line 8, in test\nValueError: Gerät fehlt'
    assert hidden(text) == text
    assert hidden("") == "" and hide(b"", [b"x" * 20]) == b""


def test_empty_secrets_and_a_missing_key_file_hide_nothing():
    class Bare:
        config = {"token": "", "wifi.password": "", "product": "", "tls.key": "no-such-file"}
        provision = {}

    assert secrets(Bare) == [] and secrets(None) == []
