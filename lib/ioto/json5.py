"""Parser for JSON5 (spec.json5.org) as used in Ioto's files. Imported only when needed. Pure.

Supports comments, unquoted keys, single quotes, trailing commas, hexadecimal numbers, signs, and leading or trailing
decimal points. Unquoted keys may contain any non-ASCII character, but no escapes.

The parser works on UTF-8 bytes. MicroPython finds the n-th character of a str by counting from its start, so a file
that takes seconds as bytes would take minutes as a str.
"""

_DEPTH = 12  # levels of nesting; each takes two calls, on a stack of 16 KiB
_ESCAPES = {98: "\b", 102: "\f", 110: "\n", 114: "\r", 116: "\t", 118: "\v", 48: "\0"}
_SEPARATORS = (b"\xe2\x80\xa8", b"\xe2\x80\xa9")
_WORDS = {"true": True, "false": False, "null": None, "Infinity": float("inf"), "NaN": float("nan")}
_DIGITS = b"0123456789"
_HEX = b"0123456789abcdefABCDEF"
_LETTERS = b"$_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class _Text:
    def __init__(self, raw):
        self.raw = raw + b"\0"  # a sentinel: the loops over characters stop at it
        self.at = 0

    def fail(self, what):
        before = self.raw[: self.at]
        column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
        raise ValueError("line %d column %d: %s" % (before.count(b"\n") + 1, column, what))

    def is_at(self, raw):
        return self.raw[self.at : self.at + len(raw)] == raw

    def is_end(self):
        return self.at == len(self.raw) - 1

    def take(self, allowed):
        """If the next byte is one of `allowed`, skip it and return True."""
        found = self.raw[self.at] in allowed
        self.at += found
        return found

    def run(self, allowed):
        start = self.at
        while self.raw[self.at] in allowed:
            self.at += 1
        return self.raw[start : self.at].decode()

    def blank(self):
        """Number of bytes of the white space character at this position, 0 if there is none."""
        if self.raw[self.at] < 128:
            return int(self.raw[self.at] in b" \t\n\r\v\f")
        if self.is_at(b"\xc2\xa0"):
            return 2
        return 3 if self.is_at(b"\xef\xbb\xbf") or self.raw[self.at : self.at + 3] in _SEPARATORS else 0

    def skip(self):
        """Skip white space and comments; return the next byte, 0 at the end."""
        while True:
            n = self.blank()
            if n:
                self.at += n
            elif self.is_at(b"//"):
                while not (
                    self.is_end() or self.raw[self.at] in b"\r\n" or self.raw[self.at : self.at + 3] in _SEPARATORS
                ):
                    self.at += 1
            elif self.is_at(b"/*"):
                end = self.raw.find(b"*/", self.at + 2)
                if end < 0:
                    self.fail("unterminated comment")
                self.at = end + 2
            else:
                return self.raw[self.at]

    def value(self, depth):
        c = self.skip()
        if depth > _DEPTH:
            self.fail("nested deeper than %d" % _DEPTH)
        if self.take(b"{"):
            return self.members(depth)
        if self.take(b"["):
            return self.items(depth)
        if self.take(b"\"'"):
            return self.string(c)
        if c in b"+-.0123456789":
            return self.number()
        at = self.at
        word = self.word()
        if word not in _WORDS:
            self.at = at
            self.fail("expected a value")
        return _WORDS[word]

    def members(self, depth):
        found = {}
        while True:
            c = self.skip()
            if self.take(b"}"):
                return found
            quoted = self.take(b"\"'")
            key = self.string(c) if quoted else self.word()
            if not key and not quoted:
                self.fail("expected a key or }")
            self.skip()
            if not self.take(b":"):
                self.fail("expected :")
            found[key] = self.value(depth + 1)
            self.comma("}")

    def items(self, depth):
        found = []
        while True:
            self.skip()
            if self.take(b"]"):
                return found
            found.append(self.value(depth + 1))
            self.comma("]")

    def comma(self, close):
        if self.skip() != ord(close) and not self.take(b","):
            self.fail("expected , or %s" % close)

    def word(self):
        start = self.at
        while (
            self.raw[self.at] in _LETTERS
            or self.raw[self.at] > 127
            and not self.blank()
            or self.at > start
            and self.raw[self.at] in _DIGITS
        ):
            self.at += 1
        return self.raw[start : self.at].decode()

    def string(self, quote):
        out = []
        start = self.at
        while not self.take(b"\r\n") and not self.is_end():
            c = self.raw[self.at]
            if c == 92 or c == quote:
                out.append(self.raw[start : self.at].decode())
                self.at += 1
                if c == quote:
                    return "".join(out)
                out.append(self.escape())
                start = self.at
            else:
                self.at += 1
        if not self.is_end():
            self.at -= 1
        self.fail("unterminated string")

    def escape(self):
        c = self.raw[self.at]
        if self.is_end() or c in b"123456789" or c == 48 and self.raw[self.at + 1] in _DIGITS:
            self.fail("invalid escape")
        if c > 127:  # the character itself, or a line continuation
            self.at += 3 * (self.raw[self.at : self.at + 3] in _SEPARATORS)
            return ""
        self.at += 1
        if c == 13:
            self.take(b"\n")
        if c in b"\r\n":
            return ""
        if c not in b"xu":
            return _ESCAPES.get(c, chr(c))
        code = self.hexadecimal(2 if c == 120 else 4)
        if 0xD800 <= code < 0xDC00 and self.is_at(b"\\u"):
            at = self.at
            self.at += 2
            low = self.hexadecimal(4)
            if 0xDC00 <= low < 0xE000:
                return chr(0x10000 + ((code & 0x3FF) << 10) + (low & 0x3FF))
            self.at = at
        return chr(code)

    def hexadecimal(self, n):
        start = self.at
        while self.at < start + n and self.take(_HEX):
            pass
        if self.at < start + n:
            self.fail("expected %d hexadecimal digits" % n)
        return int(self.raw[start : self.at].decode(), 16)

    def number(self):
        sign = -1 if self.raw[self.at] == 45 else 1
        self.take(b"+-")
        if self.raw[self.at] in b"IN":
            word = self.word()
            if word not in ("Infinity", "NaN"):
                self.fail("expected a number")
            return sign * _WORDS[word]
        if self.is_at(b"0x") or self.is_at(b"0X"):
            self.at += 2
            digits = self.run(_HEX)
            if not digits:
                self.fail("expected hexadecimal digits")
            return sign * int(digits, 16)
        whole = self.run(_DIGITS)
        point = self.take(b".")
        part = self.run(_DIGITS) if point else ""
        if not whole and not part or len(whole) > 1 and whole[0] == "0":
            self.fail("expected a number")
        if self.take(b"eE"):
            minus = "-" if self.raw[self.at] == 45 else ""
            self.take(b"+-")
            digits = self.run(_DIGITS)
            if not digits:
                self.fail("expected digits of the exponent")
            return sign * float("%s.%se%s%s" % (whole or "0", part or "0", minus, digits))
        return sign * (float("%s.%s" % (whole or "0", part or "0")) if point else int(whole))


def loads(text):
    """Parse a JSON5 text and return its value; ValueError with line and column."""
    t = _Text(text.encode())
    value = t.value(0)
    t.skip()
    if not t.is_end():
        t.fail("expected the end")
    return value
