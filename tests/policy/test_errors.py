"""Invalid policies: position and text of each error; limits that are reached or exceeded by one; fuzzing."""

import random

import pytest
from example_policies import HOLDS, HOLDS_NOT
from ioto_tools.cloud import policy
from ioto_tools.cloud.policy import PolicyError

OPERAND = "expected a name, a value, ! or ("
ERRORS = [  # text, line, column, part of the problem
    ("a = 1", 1, 3, "expected a comparison, && or ||, found '=': write == to compare"),
    ("a ==", 1, 5, OPERAND + ", found the end"),
    ("a ==\n", 2, 1, OPERAND + ", found the end"),
    ("a == 1 b", 1, 8, "expected &&, || or the end, found b"),
    ("(a", 1, 3, "expected ), found the end"),
    ("a)", 1, 2, "expected the end, found )"),
    ("a & b", 1, 3, "write && for and"),
    ("a | b", 1, 3, "write || for or"),
    ("a == 'x", 1, 6, "this string does not end on its line"),
    ('a == "x\n"', 1, 6, "this string does not end on its line"),
    ("a == 1.2.3", 1, 6, "a version in quotes"),
    ("a == 007", 1, 6, "write a number as"),
    ("a\n == 12ab", 2, 5, "write a number as"),
    ("device.try-beta", 1, 11, "device['its-name']"),
    ("a[b]", 1, 2, "in quotes"),
    ("a.", 1, 2, "found '.'"),
    ("a < b < c", 1, 7, "comparisons cannot be chained"),
    ("a =~ b", 1, 6, "in quotes or slashes"),
    ("a =~ 1", 1, 6, "in quotes or slashes"),
    ("/x/ =~ /x/", 1, 1, "regular expression is only valid"),
    ("/x/ =~ a", 1, 1, "regular expression is only valid"),
    ("/x/ == /x/", 1, 8, "regular expression is only valid"),
    ("a < /x/", 1, 5, "regular expression is only valid"),
    ("a &&\n/x/", 2, 1, "regular expression is only valid"),
    ("semver(a, '<', /x/)", 1, 16, "regular expression is only valid"),
    ("a =~ '('", 1, 6, "invalid regular expression: missing ): ("),
    ("a =~ /(?=x)/", 1, 6, "no look-around"),
    (r"a =~ /(x)\1/", 1, 6, "no back references"),
    ("a =~ /x{1001}/", 1, 6, "invalid regular expression"),
    ("a =~ /((x{100}){100}){100}/", 1, 6, "invalid regular expression"),
    ("a =~ /%s/" % ("x{1000}" * 100), 1, 6, "pattern too large"),
    ("a =~ /x", 1, 6, "does not end on its line"),
    ("a =~ //", 1, 6, "does not end on its line"),
    ("f(1)", 1, 1, "there is no function f"),
    ("a.semver(1,2,3)", 1, 1, "there is no function a.semver"),
    ("semver()", 1, 1, "three arguments"),
    ("b || semver(a, '<')", 1, 6, "three arguments"),
    ("semver(a, '~', b)", 1, 11, "one of < <= == != >= >"),
    ("semver(a, c, b)", 1, 11, "one of < <= == != >= >"),
    ("semver(a, 1, b)", 1, 11, "one of < <= == != >= >"),
    ("semver(a '<' b)", 1, 10, "expected , or )"),
    ("a && && b", 1, 6, OPERAND + ", found &&"),
    ("&&", 1, 1, OPERAND + " or the end, found &&"),
    ("()", 1, 2, OPERAND + ", found )"),
    (r"a == '\d'", 1, 6, r"unknown escape \d in a string: write a backslash as \\"),
    (r"device['\q'] == 1", 1, 1, r"unknown escape \q"),
    (r"a == '\ud800'", 1, 6, "an incomplete character"),
    (r"a == '\u{110000}'", 1, 6, "there is no character"),
    ("a\n== '\ud800'", 2, 5, "an incomplete character"),
    ("größe == 1", 1, 3, "found '\\xf6'"),
    ("a + 1 == 2", 1, 3, "found '+'"),
    ("a ? b : c", 1, 3, "found '?'"),
    ("a; b", 1, 2, "found ';'"),
    ("a\x00", 1, 2, "found '\\x00'"),
]  # fmt: skip


@pytest.mark.parametrize("text, line, column, part", ERRORS)
def test_error_says_where_and_what(text, line, column, part):
    with pytest.raises(PolicyError) as e:
        policy.compile(text)
    assert (e.value.line, e.value.column) == (line, column) and part in e.value.problem
    assert str(e.value) == "line %d, column %d: %s" % (line, column, e.value.problem)
    str(e.value).encode()


def refused(text, part):
    with pytest.raises(PolicyError, match=part) as e:
        policy.compile(text)
    return e.value.line, e.value.column


def test_limit_of_characters():
    text = "a == '%s'" % ("x" * 1993)
    assert len(text) == 2000 and policy.compile(text)({"a": "x" * 1993}, {})
    assert refused(text + " ", "2001 characters: the limit is 2000") == (1, 2001)
    assert refused("a\n" * 1000 + "b", "2001 characters") == (1001, 1)
    assert refused("(" * 10**6, "1000000 characters") == (1, 2001)


@pytest.mark.parametrize("join", [" && ", "||", " == 1 ||\n"])
@pytest.mark.parametrize("term", ["a%d", "b%d == 1", "!c%d", "semver(d%d, '<', '1.0.0')"])
def test_limit_of_terms(term, join):
    if "==" in join and term != "a%d":
        return
    terms = [term % i for i in range(51)]
    assert len(policy.compile(join.join(terms[:50])).explain({}, {})) == 50
    before = join.join(terms[:50]) + join
    assert refused(join.join(terms), "more than 50 terms") == (before.count("\n") + 1, len(before) - before.rfind("\n"))
    nested = "(" + join.join(terms[:25]) + ") && (" + join.join(terms[25:50])
    assert len(policy.compile(nested + ")").terms) == 50
    refused(nested + join + "z)", "more than 50 terms")
    refused("(%s) == true" % join.join(terms[:50]), "more than 50 terms")  # the comparison is one more term


@pytest.mark.parametrize(
    "before, after",
    [("(", ")"), ("!", ""), ("!(", ")"), ("(!", ")"), ("(1 == ", ")"), ("(z || ", ")"), ("(z && ", ")")],
)
def test_limit_of_depth(before, after):
    """The error is at the ( or ! that contains 32 others, whatever is between them."""
    step = sum(before.count(c) for c in "(!")
    most = 32 // step
    text = lambda n: before * n + "a" + after * n
    after_most = 1 if step == 1 else 2
    policy.compile(text(most))({"a": 1}, {})
    assert refused(text(most + 1), "nested more than 32 levels deep") == (1, after_most)
    assert refused("b &&\n " + text(most + 1), "nested more than 32 levels deep") == (2, after_most + 1)
    if "z" not in before and "==" not in before:
        policy.compile(" && ".join([text(most)] * 3))({"a": 1}, {})  # parts side by side are not deeper than one part


MALICIOUS = [
    "(" * 2000, "!" * 2000, "(" * 999 + "a" + ")" * 999, "!" * 1999 + "a", "a" + ".a" * 999, "a" + "['a']" * 390,
    "[" * 2000, "a" + "[" * 1999, "/" + "[" * 1999, "/" * 2000, "'" * 2000, "'" + "\\" * 1999, "\\" * 2000,
    "a" + " " * 1999, "a == 1" + " && a == 1" * 199, "1" * 2000, "-" * 2000, "1e" + "9" * 1000, "semver(" * 285,
    "semver(a,'<'," * 150, "a." * 1000, "a . " * 500, "a =~ /" + "(a*)*" * 300 + "/",
    "a =~ /" + "(" * 900 + ")" * 900 + "/", "a =~ /" + "a{1000}" * 200 + "/", "a =~ '" + "a?" * 400 + "a" * 400 + "'",
    "a=~/" + "[^" * 900 + "/", "a == '" + "\\u0041" * 300 + "'", "\n" * 1999 + "(", "a" * 2000, "||" * 1000,
    "\u2028" * 2000, "a == " * 400, "== " * 600, "'\ud800" * 600,
]  # fmt: skip


@pytest.mark.parametrize("text", MALICIOUS, ids=lambda text: ascii(text[:12]))
def test_malicious_texts(text):
    compiles_safely(text)


def compiles_safely(text):
    """Compile `text`: True if it is a policy, which then works for any device; False if it raises PolicyError."""
    try:
        made = policy.compile.__wrapped__(text)
    except PolicyError as e:
        assert 1 <= e.line <= text.count("\n") + 1 and 1 <= e.column <= len(text) + 1
        return False
    for device in DEVICES:
        assert made(device, {"version": "2.0.0"}) in (True, False)
        assert all(each["holds"] in (True, False) for each in made.explain(device, {}))
    return True


DEVICES = [
    {},
    {"version": "1.0.0", "a": "a" * 5000, "b": {"c": [1, "x", None]}, "c": 10**400, "d": "\ud800", "x": float("nan")},
]
PIECES = [
    "a", "b.c", "d", "x", "version", "device", "update", ".", "[", "]", "['c']", "device['a-b']", "newVersion", "major",
    "true", "false", "null", "1", "-1.5", "1e400", "'s'", '"1.0.0"', "'\\n'", "'\\", "/a+/", "/[/]/i", "(", ")", "!",
    ",", "semver", "semver(", "semver(a,'<',b)", " ", "\n", "\t", "é", "\ud800", "\x00", "=", "&", "|", "~", "+", "\\",
    *policy.values.OPERATORS, "=~", "&&", "||",
]  # fmt: skip


def test_fuzz_of_pieces():
    """Pieces of the language in random order."""
    draw = random.Random(6)
    made = sum(compiles_safely("".join(draw.choices(PIECES, k=draw.randint(1, 12)))) for _ in range(3000))
    assert made > 20  # some of them are policies


def test_fuzz_of_changes():
    draw = random.Random(7)
    for text in HOLDS + HOLDS_NOT:
        for at in range(len(text)):
            compiles_safely(text[:at])
        for _ in range(20):
            at = draw.randrange(len(text))
            compiles_safely(text[:at] + draw.choice(PIECES) + text[at + draw.randint(0, 2) :])


def test_fuzz_of_bytes():
    draw = random.Random(8)
    for _ in range(1000):
        raw = draw.randbytes(draw.randint(1, 60))
        compiles_safely(raw.decode("latin-1"))
        compiles_safely(raw.decode("utf-8", "surrogateescape"))
        compiles_safely(bytes(b & 0x3F | 0x20 for b in raw).decode())
