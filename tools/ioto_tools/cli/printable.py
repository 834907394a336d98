"""Make text from boards and devices safe for a terminal.

A terminal obeys control characters: an escape sequence can set its title, hide lines, or type a command into it.
"""

import re

# C0 except tab and line feed, DEL, C1, line and paragraph separators, and characters that reorder a line.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Escape control characters in `text`: ESC becomes \\x1b. Tabs and line feeds stay; CR LF becomes a line feed."""
    return _CONTROL.sub(_escape, text.replace("\r\n", "\n"))


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode()
