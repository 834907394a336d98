"""The arguments and results of page functions, and the rendering of pages as HTML."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import urlencode

import jinja2

from ..rules.stages import format_duration
from . import assets


def check_text(value: str) -> str:
    """Return `value` if the database and a page can contain it. ValueError if it has a NUL or a lone surrogate."""
    if "\0" in value:
        raise ValueError("a NUL in a text")
    value.encode()  # a lone surrogate raises UnicodeEncodeError, a ValueError
    return value


@dataclass(frozen=True)
class PageRequest:
    """The fields of a request: `query` and `form` are {name: text}; a file in a form is an UploadFile."""

    query: dict[str, str]
    form: dict[str, Any]

    def number(self, name: str) -> int | None:
        """A number of the query, None if it is missing or invalid."""
        return _number_in(self.query, name)

    def form_number(self, name: str) -> int | None:
        """A number of the form, None if it is missing or invalid."""
        return _number_in(self.form, name)


@dataclass(frozen=True)
class Page:
    """A template and its values, to be rendered as HTML."""

    template: str
    values: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JsonData:
    """Values that page.js reads as JSON."""

    values: dict[str, Any]


@dataclass(frozen=True)
class Download:
    """A file, which is sent while it is made."""

    media_type: str
    name: str
    pieces: Iterator[bytes]


@dataclass(frozen=True)
class Redirect:
    """A redirect to a path below /web/."""

    to: str


def _number_in(fields: dict[str, Any], name: str) -> int | None:
    text = str(fields.get(name, ""))
    return int(text) if text.isdecimal() and len(text) < 16 else None


PageResponse = Page | JsonData | Download | Redirect
Action = tuple[str, str, str | None]  # (action, text of its button, confirmation question)


def link(name: str, /, **query: object) -> str:
    """The relative link to the page `name`."""
    given = urlencode({name: value for name, value in query.items() if value not in (None, "")})
    return name + ("?" + given if given else "")


def render(page: Page, **common: Any) -> str:
    return templates().get_template(page.template).render(**common, **page.values)


class _Environment(jinja2.Environment):
    """In its templates, `row.update` is the value of the key `update`, not the method of dict."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)


@cache
def templates() -> jinja2.Environment:
    made = _Environment(
        loader=jinja2.PackageLoader("ioto_tools.cloud.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(asset=assets.path, link=link)
    made.filters.update(duration=format_duration, ago=_ago, moment=_moment, bytes=_bytes, number=_number)
    return made


def _ago(then_s: int | None, now_s: int) -> str:
    """`3 min ago`, `in 2 h`, `never`."""
    if then_s is None:
        return "never"
    seconds = abs(now_s - then_s)
    units = (86400, "d"), (3600, "h"), (60, "min"), (1, "s")
    unit, name = next(each for each in units if seconds >= 2 * each[0] or each[0] == 1)
    return ("%d %s ago" if then_s <= now_s else "in %d %s") % (seconds // unit, name)


def _moment(then_s: int) -> str:
    """The time in UTC, in the format of HTML's <time>."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(then_s))


def _bytes(n: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if n >= unit:
            return "%.1f %s" % (n / unit, name)
    return "%d bytes" % n


def _number(n: int) -> str:
    return f"{n:,}"
