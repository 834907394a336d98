"""The filter of a list of devices: its parameters, and the database conditions for them.

The parameters have the same names and values in the address of the page, in the API and on the command line. All
conditions must hold.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from ioto import duration
from sqlalchemy.ext.compiler import compiles

from .. import policy
from ..http.errors import CloudError
from ..operators import groups, hidden_fields, overview
from ..policy.values import OPERATORS
from ..rules import update_states
from ..storage import queries
from ..storage.tables import Row, devices, grants

if TYPE_CHECKING:
    from ..site.site import Site

Condition = sa.ColumnElement[bool]
Test = Callable[[Row], bool]  # of the properties of a device's last check-in

# {parameter: the devices that it selects}
PARAMETERS = {
    "product": "of this product (name or id)",
    "id": "whose id begins with this text",
    "q": "whose id contains this text, in upper or lower case",
    "release": "that were offered this update (its id, or PRODUCT@VERSION)",
    "state": "on which the update of `release` is in this state; several states: separated by commas",
    "reason": "whose last report about the update of `release` has this reason (none: no reason); without `release`: "
    "their last update",
    "changed": "on which the update of `release` reached its state within this duration",
    "version": "that ran this version at their last check-in",
    "silent": "whose check-in is overdue (yes), or not (no)",
    "older": "whose last check-in is older than this duration, such as 2 days",
    "newer": "whose last check-in is newer than this duration",
    "registered": "that registered for the first time within this duration",
    "claimed": "that are claimed (yes), or not (no)",
    "group": "of this group",
    "property": "with this property in their last check-in: region=eu, room!=hall, heap<20000, network.rssi>=-70",
    "policy": "whose last check-in matches this policy",
}
SORTS = ("id", "seen", "-seen", "version", "-version", "first", "-first")  # "-": descending
MAX_CHARACTERS = policy.CHARACTERS  # of a parameter
_PROPERTY = re.compile(r"([^=!<>]+)(==|=|!=|<=|>=|<|>)(.*)", re.S)
_LONGEST_S = 100 * 366 * 86400


@dataclass(frozen=True)
class DeviceFilter:
    """A filter whose parameters are valid."""

    said: Mapping[str, str]  # the parameters, without empty ones
    product: str | None = None  # id
    release: str | None = None  # id
    begins: str = ""
    which: tuple[Condition, ...] = ()  # conditions on the rows of `devices`, except for the product and `begins`
    held: tuple[Condition, ...] = ()  # conditions on the device's row of `grants` for `release`
    indexed: int = 0  # number of conditions at the beginning of `held` that use an index
    tests: tuple[Test, ...] = ()  # conditions on the properties, which are evaluated in Python
    is_costly: bool = False  # `which` needs several reads for each device
    sort: str = "id"  # one of SORTS

    @property
    def conditions(self) -> list[Condition]:
        """The conditions on the rows of `devices`, without the beginning of the id."""
        found = [devices.c.removed_s.is_(None), *self.which]
        return found + [devices.c.product == self.product] if self.product else found


def parse(site: "Site", said: Mapping[str, str | None]) -> DeviceFilter:
    """The filter with these parameters: those of PARAMETERS, and `sort`. CloudError names the one that is invalid."""
    given = {name: text.strip() for name, text in said.items() if text and text.strip()}
    for name, text in given.items():
        _check_text(name, text)
    for name in ("state", "changed"):
        if name in given and "release" not in given:
            raise CloudError(
                "%s %s: of which update? Add release: its id, or PRODUCT@VERSION" % (name, given[name][:80])
            )
    sort = given.pop("sort", "id")
    if sort not in SORTS:
        raise CloudError("sort %s: expected: one of %s" % (sort[:80], ", ".join(SORTS)))
    product, release, group = site.database.read(_look_up, given)
    tests = [_policy_test(text) for text in (group, given.get("policy")) if text]
    tests += [_property_test(given["property"])] if "property" in given else []
    names = hidden_fields.names(site) if tests else {}
    return DeviceFilter(
        said=given,
        product=product,
        release=release,
        begins=given.get("id", ""),
        which=tuple(_CONDITIONS[name](given[name], site.now_s()) for name in _CONDITIONS if name in given)
        + (() if release or "reason" not in given else (_last_reason(given["reason"]),)),
        held=tuple(_held(release, given, site.now_s())) if release else (),
        indexed=1 + ("state" in given),
        tests=tuple(_without_hidden(test, names) for test in tests),
        is_costly="reason" in given and not release,
        sort=sort,
    )


def _check_text(name: str, text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise CloudError("%s: expected: at most %d characters" % (name, MAX_CHARACTERS))
    if "\0" in text or not text.isascii() and text.encode("utf-8", "ignore").decode() != text:
        raise CloudError("%s: expected: text without NUL characters and lone surrogates" % name)


def _look_up(conn: sa.Connection, given: dict[str, str]) -> tuple[str | None, str | None, str | None]:
    """(id of the product, id of the update, policy of the group) of a filter."""
    release = overview.find_release(conn, given["release"]) if "release" in given else None
    if "product" in given:
        product = overview.find_product(conn, given["product"])["id"]
    else:
        product = release["product"] if release else None
    return (
        product,
        release["id"] if release else None,
        groups.find_policy(conn, given["group"]) if "group" in given else None,
    )


# ---- conditions on the properties


def _without_hidden(test: Test, names: hidden_fields.Names) -> Test:
    """The test of properties with names instead of hidden ids: a condition must not reveal them."""
    return lambda properties: test(hidden_fields.hide(properties, names))


def _policy_test(text: str) -> Test:
    try:
        compiled = policy.compile(text)
    except policy.PolicyError as e:
        raise CloudError("policy: %s" % e) from e
    return lambda properties: compiled(properties, {})


def _property_test(text: str) -> Test:
    """The condition `name=value`. A number is compared as a number; a name may contain dots, for nested properties."""
    found = _PROPERTY.fullmatch(text)
    if not found:
        raise CloudError(
            "property %s: expected: a name, one of = != < <= > >=, and a value, such as region=eu" % text[:80]
        )
    name, value, holds = found[1].strip(), found[3].strip(), OPERATORS["==" if found[2] == "=" else found[2]]
    return lambda properties: holds(_nested(properties, name), value)


def _nested(properties: Row, name: str) -> Any:
    if name in properties:
        return properties[name]
    value: Any = properties
    for step in name.split("."):
        if type(value) is not dict:
            return None
        value = value.get(step)
    return value


# ---- conditions on the device's row: (text, now) -> condition


def _contains(text: str, now_s: int) -> Condition:
    return devices.c.id.icontains(text, autoescape=True)


def _version(text: str, now_s: int) -> Condition:
    return devices.c.version == text


def _silent(text: str, now_s: int) -> Condition:
    found = queries.silent(now_s)
    return found if _is_yes("silent", text) else sa.not_(found)


def _claimed(text: str, now_s: int) -> Condition:
    return devices.c.claimed if _is_yes("claimed", text) else sa.not_(devices.c.claimed)


def _is_yes(name: str, text: str) -> bool:
    if text not in ("yes", "no"):
        raise CloudError("%s %s: expected: yes or no" % (name, text[:80]))
    return text == "yes"


def _older(text: str, now_s: int) -> Condition:
    return sa.func.coalesce(devices.c.seen_s, devices.c.registered_s) < now_s - _seconds("older", text)


def _newer(text: str, now_s: int) -> Condition:
    return devices.c.seen_s >= now_s - _seconds("newer", text)


def _registered(text: str, now_s: int) -> Condition:
    return devices.c.first_s > now_s - _seconds("registered", text)


def _seconds(name: str, text: str) -> int:
    try:
        return min(duration.parse(text), _LONGEST_S)
    except ValueError as e:
        raise CloudError("%s %s: %s" % (name, text[:80], e)) from e


_CONDITIONS: dict[str, Callable[[str, int], Condition]] = {
    "q": _contains, "version": _version, "silent": _silent, "older": _older, "newer": _newer,
    "registered": _registered, "claimed": _claimed,
}  # fmt: skip


# ---- conditions on the device's row of `grants`


def _held(release: str, given: dict[str, str], now_s: int) -> list[Condition]:
    """The conditions for the release; those of the index `ix_grants_stands` come first."""
    found = [grants.c.release == release]
    if "state" in given:
        found.append(grants.c.state.in_([_state(word.strip()) for word in given["state"].split(",")]))
    if "changed" in given:
        found.append(grants.c.changed_s > now_s - _seconds("changed", given["changed"]))
    if "reason" in given:
        found.append(overview.last_report_has(given["reason"]))
    return found


def was_offered(*held: Condition) -> Condition:
    """The condition of devices with a row of `grants` that matches `held`.

    Each device is looked up by its key. PostgreSQL would convert EXISTS to a join, and sometimes read all offers for
    each device.
    """
    one: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(grants)
    return one.where(grants.c.device == _DeviceKey(), *held).limit(1).scalar_subquery() == 1


class _DeviceKey(sa.ColumnElement[str]):
    """`devices.key`, as an index of another table can look it up: its own collation differs from theirs."""

    inherit_cache = True
    type = sa.String()


@compiles(_DeviceKey)
def _key(element: _DeviceKey, compiler: Any, **options: Any) -> str:
    return "devices.key"


@compiles(_DeviceKey, "postgresql")
def _key_in_postgresql(element: _DeviceKey, compiler: Any, **options: Any) -> str:
    return 'devices.key COLLATE "default"'


def _state(word: str) -> str:
    if word not in update_states.STATES:
        raise CloudError("state %s: expected: one of %s" % (word[:80], ", ".join(update_states.STATES)))
    return word


def _last_reason(reason: str) -> Condition:
    """The last report about the update that the device was offered last has this reason."""
    other = grants.alias()
    last_s = sa.select(sa.func.max(other.c.offered_s)).where(other.c.device == grants.c.device).scalar_subquery()
    return was_offered(grants.c.offered_s == last_s, overview.last_report_has(reason))
