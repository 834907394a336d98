"""What of a release's roll-out is allowed and hardly meant: a sentence each, for the operator who asks for it. Reads only."""

import difflib
import json

import sqlalchemy as sa

from . import fleet, policy, terms
from .policy.names import PARTS
from .tables import devices

LOOKS = 5000  # devices whose properties are looked at
_ALWAYS = {"id", "product", "version", *PARTS}


def of_update(site, update):
    """Of one as fleet.update() gives it."""
    return of(site, update["product"], update["terms"]["policy"], update["terms"]["percentage"])


def of(site, product, text, percentage=None):
    """Of a policy for the devices of `product` (name or id; None: of any), and of a percentage."""
    found = terms.doubts(text)
    reads = policy.compile(text).properties or set()
    if names := sorted(reads - _ALWAYS):
        found = found + site.database.read(_unsent, product, names)
    if percentage == 0:
        found = found + ["percentage 0: no device is offered the update before it is raised"]
    return found


def _unsent(conn, product, names):
    """A sentence for each of `names` that no known device has ever sent, as far as LOOKS devices tell."""
    sent = set()
    found = sa.select(devices.c.properties).where(devices.c.removed_s.is_(None), devices.c.seen_s.is_not(None)).limit(LOOKS)
    if product:
        found = found.where(devices.c.product == fleet.product_of(conn, product)["id"])
    for (properties,) in conn.execute(found):
        sent.update(json.loads(properties))
        if sent.issuperset(names):
            return []
    return [_sentence(name, sent) for name in names if name not in sent] if sent else []


def _sentence(name, sent):
    like = difflib.get_close_matches(name, sent, 1)
    return "no known device has sent the property %s%s" % (name, ": is %s meant?" % like[0] if like else "")
