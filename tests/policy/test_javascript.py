"""The policy language, compared with a real JavaScript engine where both should agree.

They agree on numbers, booleans, strings, null, && || ! and parentheses. The test leaves out what docs/policy.md
defines differently on purpose: versions, "true" and "false" as booleans, missing properties with != and
!==, null with < <= > >=, and JavaScript's conversion of lists, objects and blank strings in comparisons.
"""

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from ioto_tools.cloud import policy

NUMBERS = [0, 1, -1, 2, 10, 256, 1.5, -2.25, 1e21, 5e-7, 2**53 - 1]
STRINGS = [
    "a",
    "b",
    "ab",
    "B",
    "us-west",
    "us-east",
    "x y",
    "é",
    "zz",
    "null",
    "1.10",
    "it's",
    'say "x"',
    "back\\slash",
    "tab\t",
    "\uffff",
    "-",
]
DIGITS = ["1", "2", "10", "256", "1.5", "-1", "1e2"]
# kind -> the names of this kind; an absent property is never sent
NAMES = {
    "number": ["n", "device.n", "device['n']", "device.o.n", "o['n']", "update.size"],
    "boolean": ["b", "device.b", "device . c", "device.o['b']"],
    "string": ["s", "device.s", "t", 'device["t"]', "update.product", "device['a-b']"],
    "digits": ["d", "device.d"],
    "null": ["z", "device.z", "device.o.z"],
    "absent": ["m", "device.m", "device['m-n']", "device.o.m", "update.m"],
    "thing": ["o", "device.l", "device.o"],
}
UPDATE = {"size": 1640800, "product": "thermo"}


def device(draw):
    return {
        "n": draw.choice(NUMBERS), "b": draw.random() < 0.5, "c": draw.random() < 0.5, "s": draw.choice(STRINGS),
        "t": draw.choice(STRINGS),
        "a-b": draw.choice(STRINGS), "d": draw.choice(DIGITS), "z": None, "l": [1, "a"],
        "o": {"n": draw.choice(NUMBERS), "b": draw.random() < 0.5, "z": None},
    }  # fmt: skip


def name_or_literal(draw, kind):
    """A random operand of this kind: a name or a literal."""
    if kind in ("absent", "thing") or draw.random() < 0.6:
        return draw.choice(NAMES[kind])
    if kind == "number":
        return json.dumps(draw.choice(NUMBERS))
    if kind == "boolean":
        return draw.choice(["true", "false"])
    if kind == "null":
        return "null"
    text = json.dumps(draw.choice(STRINGS if kind == "string" else DIGITS), ensure_ascii=draw.random() < 0.5)
    return text if draw.random() < 0.5 else "'" + text[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"


EQUAL, STRICT, ORDER = ["==", "!="], ["===", "!=="], ["<", "<=", ">", ">="]
PAIRS = [  # kinds, operators on which both languages agree
    ("number", "number", EQUAL + STRICT + ORDER),
    ("boolean", "boolean", EQUAL + STRICT + ORDER),
    ("number", "boolean", EQUAL + STRICT + ORDER),
    ("string", "string", EQUAL + STRICT + ORDER),
    ("digits", "digits", EQUAL + STRICT + ORDER),
    ("number", "digits", EQUAL + STRICT + ORDER),
    ("string", "boolean", STRICT),
    ("string", "number", STRICT),
    ("digits", "boolean", EQUAL + STRICT),
    ("number", "absent", ["==", "==="] + ORDER),
    ("string", "absent", ["==", "==="] + ORDER),
    ("boolean", "absent", ["==", "==="] + ORDER),
    ("number", "null", ["==", "==="]),
    ("string", "null", ["==", "==="]),
]


def comparison(draw):
    if draw.random() < 0.15:  # a test for existence
        kind = draw.choice([*NAMES])
        operator = draw.choice(EQUAL if kind == "absent" else EQUAL + STRICT)
        sides = [draw.choice(NAMES[kind]), "null"]
    else:
        a, b, operators = draw.choice(PAIRS)
        operator = draw.choice(operators)
        sides = [name_or_literal(draw, a), name_or_literal(draw, b)]
    draw.shuffle(sides)
    return draw.choice(["%s %s %s", "%s%s%s", "%s\n%s  %s"]) % (sides[0], operator, sides[1])


def term(draw, depth):
    """(text, whether JavaScript evaluates it to a boolean and not to one of the operands)."""
    what = draw.random()
    if what < 0.55:
        return comparison(draw), True
    if what < 0.65:
        return name_or_literal(draw, draw.choice(["number", "boolean", "string", "null", "absent", "thing"])), False
    if what < 0.75 or not depth:
        text = (
            "!"
            + draw.choice(["", "!"])
            + name_or_literal(draw, draw.choice(["number", "boolean", "string", "null", "absent", "thing"]))
        )
        return text + draw.choice(["", " %s true" % draw.choice(EQUAL + STRICT)]), True
    text, boolean = expression(draw, depth - 1)
    if what < 0.85:
        return "!(%s)" % text, True
    if boolean and what < 0.92:
        return "(%s) %s %s" % (text, draw.choice(EQUAL + STRICT), name_or_literal(draw, "boolean")), True
    return "(%s)" % text, boolean


def expression(draw, depth=3):
    parts = [term(draw, depth) for _ in range(draw.choice([1, 1, 2, 2, 3, 4]))]
    text = parts[0][0]
    for part, _ in parts[1:]:
        text += draw.choice([" && ", " || ", "||", "\n&&"]) + part
    return text, all(boolean for _, boolean in parts)


def cases(count, seed):
    """Yield (text, device, result) for `count` different expressions, each followed by its terms."""
    draw = random.Random(seed)
    seen = set()
    while len(seen) < count:
        text = expression(draw)[0]
        if text in seen or len(text) > policy.CHARACTERS:
            continue
        seen.add(text)
        made, sent = policy.compile.__wrapped__(text), device(draw)
        yield text, sent, made(sent, UPDATE)
        for each in made.explain(sent, UPDATE):
            yield each["term"], sent, each["holds"]


@pytest.mark.sweep
def test_results_match_those_of_node():
    if not shutil.which("node"):
        pytest.skip("no JavaScript engine: apt-get install nodejs")
    ours = list(cases(10000, 6))
    asked = json.dumps([(text, sent, UPDATE) for text, sent, _ in ours])
    done = subprocess.run(
        ["node", str(Path(__file__).parent / "evaluate.js")], input=asked, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    assert len(theirs) == len(ours) > 20000
    different = [
        (text, sent, mine, its) for (text, sent, mine), its in zip(ours, theirs, strict=True) if mine is not its
    ]
    assert not different, "%d differ, such as %s" % (len(different), different[0])
    assert 0.3 < sum(theirs) / len(theirs) < 0.7  # both results are frequent


def test_properties_that_a_policy_does_not_read_change_nothing():
    different = 0
    for text, sent, holds in cases(1500, 7):
        made = policy.compile.__wrapped__(text)
        kept = {name: value for name, value in sent.items() if made.properties is None or name in made.properties}
        assert made(kept, UPDATE) is holds, text
        different += len(kept) < len(sent)
    assert different > 2000
