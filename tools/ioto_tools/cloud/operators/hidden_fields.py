"""What an operator of scope `read` is not shown: the ids of products, with which anybody can register devices. Pure but for names()."""

import sqlalchemy as sa

from ..storage.tables import products

LONG = 8  # characters of an id that is looked for within other texts, such as policies; a shorter one would be found by chance


def names(site):
    """{id of a product: its name}, of all whose id is a secret to the operator for whom the site acts."""
    return site.database.read(_names) if site.scope == "read" else {}


def _names(conn):
    return dict(tuple(row) for row in conn.execute(sa.select(products.c.id, products.c.name)))


def hidden(value, names):
    """`value` (dicts, lists, texts) with the names of products in place of their ids."""
    if not names:
        return value
    if isinstance(value, str):
        return _text(value, names)
    if isinstance(value, dict):
        return {hidden(key, names): hidden(each, names) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(hidden(each, names) for each in value)
    return value


def _text(text, names):
    if text in names:
        return names[text]
    for id, name in names.items():
        if len(id) >= LONG and id in text:
            text = text.replace(id, name)
    return text
