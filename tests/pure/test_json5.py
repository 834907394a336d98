"""JSON5 compared with the reference library: generated documents, mutated ones, and errors with their position."""

from ioto.json5 import loads

GOOD = (
    "{}", "[]", "null", "true", "'a'", '"a"', "{a:1}", "{a:1,}", "[1,2,]", "{'a b':[1,{b:null}]}", "// c\n{a: 1} // d",
    "/* x */ 1 /* y */", "0x1F", "-0x1f", "+1", ".5", "5.", "-.5e3", "1e-2", "1E+2", "'\\'x\\''",
    '"\\u0041\\x42\\n\\\nz"', "{$a_1:1,_:2,ünï:3}", "'\u2028'", "[[[[[[[[[[1]]]]]]]]]]", "{a:{b:{c:[1]}}}",
    "\ufeff{a:1}", "'tab\\tq'", '"\\v\\f\\b\\0"', "{\"a\":1,'b':2,c:3}", "  \n\r\t 7 \u00a0", "'\\ud83d\\ude00'",
    "Infinity", "-Infinity",
)  # fmt: skip
BAD = (
    "", " ", "{", "}", "[", "]", "{a}", "{a:}", "{:1}", "{a:1 b:2}", "[1 2]", "[,]", "{,}", "'a", '"a\n"', "/* x", "01",
    "0x", "1e", ".", "+", "--1", "{1:2}", "tru", "nulll", "1 2", "{a:1}}", "'\\1'", "'\\x4'", "'\\u12'", "'\\01'",
    "[1,,2]", "{a:1,,}", "undefined", "a", "/ 1", "1.2.3", "0x1G",
)  # fmt: skip


def outcome(parser, text):
    try:
        return repr(parser(text))
    except (ValueError, RuntimeError):
        return "refused"


def mutated():
    """Every valid text with each character removed, doubled, or replaced by one of a few others."""
    for text in GOOD:
        for i in range(len(text)):
            yield text[:i] + text[i + 1 :]
            yield text[: i + 1] + text[i:]
            for c in "{}[]:,'\"\\/*0a. \n":
                yield text[:i] + c + text[i + 1 :]


def test_valid_and_invalid_texts():
    for text in GOOD:
        assert outcome(loads, text) != "refused", text
    for text in BAD:
        assert outcome(loads, text) == "refused", (text, outcome(loads, text))


def test_against_json5():
    import json5

    seen = 0
    for text in list(GOOD) + list(BAD) + sorted(set(mutated())):
        if (
            "Infinity" in text or "NaN" in text or "\\ud" in text
        ):  # the library keeps surrogates apart, JavaScript joins them
            continue
        assert outcome(loads, text) == outcome(json5.loads, text), repr(text)
        seen += 1
    assert seen > 4500


DOCUMENT = """{
    // a comment
    version: '1.0.0', "log": {path: "stdout", 'format': '%S: %M',},
    list: [1, -2, +3, .5, 6., 0x1F, 1e2, true, false, null], /* and
    another */ update: {enable: true, period: '24 hr', apply: '* 2 * * *', jitter: 0,},
    text: 'a\\
b\\'c"d\\u0041', deep: [[[{a: []}]]],
}
"""


def damaged(n):
    """`n` copies of a document in Ioto's format, each with one to three small random errors."""
    import random

    random.seed(n)
    for _ in range(n):
        text = DOCUMENT
        for _ in range(random.randrange(1, 4)):
            i = random.randrange(len(text))
            text = (
                text[:i]
                + random.choice(
                    (
                        "",
                        text[i] * 2,
                        "{",
                        "}",
                        "[",
                        "]",
                        ",",
                        ":",
                        "'",
                        '"',
                        "/",
                        "*",
                        "\\",
                        "0",
                        "e",
                        ".",
                        "-",
                        "\n",
                        " ",
                    )
                )
                + text[i + 1 :]
            )
        yield text


def test_against_json5_damaged_documents():
    import json5

    accepted = 0
    for text in damaged(500):
        found = outcome(loads, text)
        assert found == outcome(json5.loads, text), repr(text)
        accepted += found != "refused"
    assert 50 < accepted < 450


def test_long_files_in_many_scripts():
    row = ": 'Gr\u00fc\u00dfe \u20ac \U0001f600', // \u00e9\u00e8\n"
    text = "{\n" + "".join("  \u00fc%d%s" % (i, row) for i in range(400)) + "}"
    found = loads(text)
    assert len(found) == 400 and found["\u00fc399"] == "Gr\u00fc\u00dfe \u20ac \U0001f600"
    try:
        loads(text[:-1] + "'\u20ac' = 1")
    except ValueError as e:
        assert "line 402 column 5: expected :" in str(e), str(e)
    else:
        raise AssertionError("accepted")


def test_against_json_every_document_of_json():
    import json
    import random

    random.seed(5)

    def made(depth):
        kind = random.randrange(7 if depth < 4 else 5)
        if kind == 5:
            return [made(depth + 1) for _ in range(random.randrange(4))]
        if kind == 6:
            return {random.choice("abc\u00e9 \"'\\\n") + str(i): made(depth + 1) for i in range(random.randrange(4))}
        return (None, True, random.randrange(-1000, 1000), random.random(), "x\u20ac\"'\\/\n\t")[kind]

    for _ in range(2000):
        document = made(0)
        assert (
            loads(json.dumps(document, indent=random.choice((None, 2)), ensure_ascii=random.random() < 0.5)) == document
        )


def spelled(value):
    """`value` as the same text on both interpreters, which differ in repr() of characters and in the order of keys."""
    if isinstance(value, str):
        return ".".join(str(ord(c)) for c in value)
    if isinstance(value, dict):
        return "{%s}" % ",".join(sorted(spelled(k) + ":" + spelled(v) for k, v in value.items()))
    if isinstance(value, list):
        return "[%s]" % ",".join(spelled(v) for v in value)
    return repr(value)


def digest_of_the_mutated():
    import hashlib

    sha = hashlib.sha256()
    for text in mutated():
        if "e" not in text and "." not in text:  # the interpreters print floats differently
            sha.update(outcome(lambda t: spelled(loads(t)), text).encode())
    return "".join("%02x" % b for b in sha.digest())


def test_errors_give_line_and_column():
    for text, where in (
        ("{\n  a: 1,\n  b 2\n}", "line 3 column 5"),
        ("[1,\n", "line 2 column 1"),
        ("{a: 'x\n'}", "line 1 column 7"),
        ("[" * 40, "deeper than 12"),
    ):
        try:
            loads(text)
        except ValueError as e:
            assert where in str(e), (text, str(e))
        else:
            raise AssertionError(text)
