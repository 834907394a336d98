"""JSON5 (spec.json5.org) as Ioto's files use it. Imported only where a .json5 file is found. Pure.

Comments, unquoted keys, single quotes, trailing commas, hexadecimal, signs and leading or trailing points.
"""

_DEPTH = 32
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0", "\n": "", "\u2028": "", "\u2029": ""}
_BLANK = " \t\n\r\v\f\u00a0\ufeff\u2028\u2029"
_WORDS = {"true": True, "false": False, "null": None, "Infinity": float("inf"), "NaN": float("nan")}
_DIGITS = "0123456789"
_HEX = "0123456789abcdefABCDEF"


class _Text:
    def __init__(self, text):
        self.text = text
        self.at = 0

    def fail(self, what):
        before = self.text[: self.at]
        line = before.count("\n") + 1
        raise ValueError("line %d column %d: %s" % (line, self.at - before.rfind("\n"), what))

    def peek(self):
        return self.text[self.at : self.at + 1]

    def skip(self):
        """Blanks and comments; returns the character that follows, "" at the end."""
        while True:
            c = self.peek()
            two = self.text[self.at : self.at + 2]
            if c and c in _BLANK:
                self.at += 1
            elif two == "//":
                while self.peek() not in ("", "\n", "\r", "\u2028", "\u2029"):
                    self.at += 1
            elif two == "/*":
                end = self.text.find("*/", self.at + 2)
                if end < 0:
                    self.fail("comment without end")
                self.at = end + 2
            else:
                return c

    def value(self, depth):
        c = self.skip()
        if depth > _DEPTH:
            self.fail("deeper than %d" % _DEPTH)
        if c == "{":
            return self.members(depth)
        if c == "[":
            return self.items(depth)
        if c and c in "\"'":
            return self.string(c)
        if c and c in "+-.0123456789":
            return self.number()
        at = self.at
        word = self.word()
        if word not in _WORDS:
            self.at = at
            self.fail("a value is wanted")
        return _WORDS[word]

    def members(self, depth):
        found = {}
        self.at += 1
        while True:
            c = self.skip()
            if c == "}":
                self.at += 1
                return found
            key = self.string(c) if c and c in "\"'" else self.word()
            if not key and not (c and c in "\"'"):
                self.fail("a key or } is wanted")
            if self.skip() != ":":
                self.fail(": is wanted")
            self.at += 1
            found[key] = self.value(depth + 1)
            self.comma("}")

    def items(self, depth):
        found = []
        self.at += 1
        while True:
            if self.skip() == "]":
                self.at += 1
                return found
            found.append(self.value(depth + 1))
            self.comma("]")

    def comma(self, close):
        c = self.skip()
        if c == ",":
            self.at += 1
        elif c != close:
            self.fail(", or %s is wanted" % close)

    def word(self):
        start = self.at
        c = self.peek()
        while c and (c.isalpha() or c in "$_" or ord(c) > 127 and c not in _BLANK or c in _DIGITS and self.at > start):
            self.at += 1
            c = self.peek()
        return self.text[start : self.at]

    def string(self, quote):
        out = []
        self.at += 1
        while True:
            c = self.peek()
            self.at += 1
            if c == quote:
                return "".join(out)
            if c in ("", "\n", "\r"):
                self.at -= 1
                self.fail("text without end")
            out.append(self.escape() if c == "\\" else c)

    def escape(self):
        c = self.peek()
        self.at += 1
        if c == "\r":
            self.at += self.peek() == "\n"
            return ""
        if c in "xu" and c:
            n = 2 if c == "x" else 4
            code = self.hexadecimal(n)
            if 0xD800 <= code < 0xDC00 and self.text[self.at : self.at + 2] == "\\u":
                at = self.at
                self.at += 2
                low = self.hexadecimal(4)
                if 0xDC00 <= low < 0xE000:
                    return chr(0x10000 + ((code & 0x3FF) << 10) + (low & 0x3FF))
                self.at = at
            return chr(code)
        if not c or c in "123456789" or c == "0" and self.peek() and self.peek() in _DIGITS:
            self.fail("bad escape")
        return _ESCAPES.get(c, c)

    def hexadecimal(self, n):
        digits = self.text[self.at : self.at + n]
        if len(digits) < n or not all(d in _HEX for d in digits):
            self.fail("%d hexadecimal digits are wanted" % n)
        self.at += n
        return int(digits, 16)

    def run(self, allowed):
        start = self.at
        while self.peek() and self.peek() in allowed:
            self.at += 1
        return self.text[start : self.at]

    def number(self):
        sign = -1 if self.peek() == "-" else 1
        if self.peek() in ("+", "-"):
            self.at += 1
        if self.peek() in ("I", "N"):
            word = self.word()
            if word not in ("Infinity", "NaN"):
                self.fail("a number is wanted")
            return sign * _WORDS[word]
        if self.text[self.at : self.at + 2] in ("0x", "0X"):
            self.at += 2
            digits = self.run(_HEX)
            if not digits:
                self.fail("hexadecimal digits are wanted")
            return sign * int(digits, 16)
        whole = self.run(_DIGITS)
        part = ""
        point = self.peek() == "."
        if point:
            self.at += 1
            part = self.run(_DIGITS)
        if not whole and not part or len(whole) > 1 and whole[0] == "0":
            self.fail("a number is wanted")
        power = ""
        if self.peek() in ("e", "E"):
            self.at += 1
            if self.peek() in ("+", "-"):
                power = self.peek()
                self.at += 1
            digits = self.run(_DIGITS)
            if not digits:
                self.fail("digits of the exponent are wanted")
            power = "e" + power + digits
        if point or power:
            return sign * float((whole or "0") + "." + (part or "0") + power)
        return sign * int(whole)


def loads(text):
    """The value of a JSON5 text; ValueError with line and column."""
    t = _Text(text)
    value = t.value(0)
    if t.skip():
        t.fail("nothing more is wanted")
    return value
