"""Hides product ids from operators of scope `read`: with a product id, any client can register devices.

Pure except names().
"""

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..storage import queries

if TYPE_CHECKING:
    from ..site.site import Site

Names = dict[str, str]  # {id of a product: its name}

# An id of at least this length is also replaced inside texts, such as policies; a shorter one would match by chance.
MIN_LENGTH = 8


def names(site: "Site") -> Names:
    """{id of a product: its name} for all products whose id is hidden from the site's operator."""
    return site.database.read(_names) if site.scope == "read" else {}


def _names(conn: sa.Connection) -> Names:
    return {each["id"]: each["name"] for each in queries.product_names(conn)}


def hide(value: Any, names: Names) -> Any:
    """`value` (dicts, lists, texts) with product ids replaced by product names."""
    if not names:
        return value
    if isinstance(value, str):
        return _text(value, names)
    if isinstance(value, dict):
        return {hide(key, names): hide(each, names) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(hide(each, names) for each in value)
    return value


def _text(text: str, names: Names) -> str:
    if text in names:
        return names[text]
    for id, name in names.items():
        if len(id) >= MIN_LENGTH and id in text:
            text = text.replace(id, name)
    return text
