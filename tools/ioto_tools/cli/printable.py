"""Text of others made safe for a terminal: what a board printed, what a device sent.

A terminal obeys control characters: an escape sequence can set its title, hide lines, or type a command into it.
"""

import re

# C0 but tab and line feed, DEL, C1, and what reorders a line (bidirectional controls, line and paragraph separators).
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` with its control characters written out, as \\x1b; tabs and line feeds stay, and CR LF is a line feed."""
    return _CONTROL.sub(_escape, text.replace("\r\n", "\n"))


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode()
