"""Literals of a policy: strings with escapes, numbers, regular expressions. Pure."""

import re
from typing import Any

import re2
from lark import Token

from .errors import error_at

WORDS = {"true": True, "false": False, "null": None}
_MEMORY_BYTES = 1 << 20  # maximum memory of one regular expression
_ESCAPE = re.compile(r"\\(?:u\{([0-9A-Fa-f]{1,6})\}|u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(.))", re.S)
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "0": "\0",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "/": "/",
}


def unquote(token: Token | str, text: str | None = None) -> str:
    """The value of the string literal `text` (default: `token`). PolicyError, at `token`, if it is invalid."""
    inner = (token if text is None else text)[1:-1]
    if "\\" not in inner:
        return str(inner)

    def character(match: re.Match[str]) -> str:
        code = match[1] or match[2] or match[3]
        if code:
            if int(code, 16) > 0x10FFFF:
                raise error_at(token, "there is no character \\u{%s}" % code)
            return chr(int(code, 16))
        if match[4] not in _ESCAPES:
            raise error_at(token, "unknown escape \\%s in a string: write a backslash as \\\\" % match[4])
        return _ESCAPES[match[4]]

    try:  # a surrogate pair becomes one character
        return _ESCAPE.sub(character, inner).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as e:
        raise error_at(token, "an incomplete character: \\uD800 to \\uDFFF must be in pairs") from e


def number(token: str) -> int | float:
    return float(token) if set(token) & set(".eE") else int(token)


def regex(token: Token) -> Any:
    """Compile the literal /expression/ or /expression/i."""
    body, flag = token[1:].rsplit("/", 1)
    return compile_regex(body, token, case_sensitive=not flag)


def compile_regex(text: str, token: Token, case_sensitive: bool = True) -> Any:
    """Compile the regular expression `text`. PolicyError, at `token`, if it is invalid."""
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True  # capture groups would make a search many times slower, and are not needed
    options.max_mem = _MEMORY_BYTES
    options.case_sensitive = case_sensitive
    try:
        return re2.compile(text, options)
    except re2.error as e:
        cause = e.args[0].decode() if isinstance(e.args[0], bytes) else e.args[0]
        raise error_at(
            token, "invalid regular expression: %s (RE2 has no look-around and no back references)" % cause
        ) from e


def matches(pattern: Any, value: object) -> bool:
    """Does `pattern` match anywhere in the string `value`?

    A lone surrogate, which JSON can contain, is not an error.
    """
    return type(value) is str and pattern.search(value.encode("utf-8", "surrogatepass")) is not None
