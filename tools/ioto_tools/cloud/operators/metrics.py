"""The metrics page for Prometheus: rollouts, requests, webhooks, the disk, and the worker process that answers.

All values except those of the disk and the process come from the database and are the same from every worker.
"""

import os
import resource
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..rollout import fleet_samples
from ..rules import update_states
from ..storage import counters
from ..storage.tables import Row
from . import overview, webhooks

if TYPE_CHECKING:
    from ..site.site import Site

TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STARTED_S = time.time()
# Name -> (help text, states that are counted).
_OUTCOMES = {
    "success": ("devices that confirmed the update", ("confirmed",)),
    "failed": (
        "devices with a bad outcome, as the stop rule counts them, without lost devices",
        update_states.FAILURES - {"lost"},
    ),
    "refused": ("devices that refused the update for a reason that is not due to the release", ("refused",)),
    "withdrawn": ("devices that were prevented from applying the update", ("withdrawn",)),
    "deferred": ("devices that deferred the update", ("deferred",)),
    "lost": ("devices that stopped sending requests after they were offered the update", ("lost",)),
}


class Family(NamedTuple):
    """A metric with all its samples."""

    name: str
    kind: str
    meaning: str
    samples: Sequence[tuple[dict[str, str], float]]  # labels and value


def text(site: "Site") -> str:
    """The whole page."""
    counted = site.database.read(counters.read)
    families = (
        _releases(overview.updates(site), counted)
        + _fleet(site.database.read(fleet_samples.current, site.now_s()))
        + _http(counted)
        + _webhooks(webhooks.listed(site))
        + _disk(site)
        + _process()
    )
    return "".join(map(_text, families))


def _releases(releases: list[Row], counted: dict[str, int]) -> list[Family]:
    """Metrics of releases; `started`: devices that have reported about the update, or whose outcome is known."""

    def family(name: str, kind: str, meaning: str, value: Callable[[Row], int]) -> Family:
        samples = [
            ({"product": each["product"], "version": each["version"], "update": each["update"]}, value(each))
            for each in releases
        ]
        return Family("ioto_release_" + name, kind, meaning, samples)

    return [
        family(
            "requests_total",
            "counter",
            "check-ins that were answered with this update",
            lambda each: counted.get("release " + each["update"], 0),
        ),
        family("offered", "gauge", "devices that were ever offered the update", lambda each: each["granted"]),
        family(
            "started",
            "gauge",
            "devices that started the update",
            lambda each: each["granted"] - each["states"].get("offered", 0),
        ),
        *(family(name, "gauge", meaning, _in_states(states)) for name, (meaning, states) in _OUTCOMES.items()),
    ]


def _in_states(states: Collection[str]) -> Callable[[Row], int]:
    return lambda each: sum(each["states"].get(state, 0) for state in states)


def _fleet(products: list[Row]) -> list[Family]:
    """Metrics of products. The number of versions in a sample is limited, so devices can't add any number of labels."""

    def family(name: str, meaning: str) -> Family:
        samples = [({"product": each["name"]}, each[name]) for each in products]
        return Family("ioto_fleet_" + name, "gauge", meaning, samples)

    versions = [
        ({"product": each["name"], "version": version}, n)
        for each in products
        for version, n in _by_version(each).items()
    ]
    return [
        family("devices", "devices of the product"),
        family("checked_in", "devices that checked in within a day"),
        family("updated", "devices that confirmed an update within a day"),
        family("silent", "devices whose check-in is overdue"),
        family("unclaimed", "devices that are not claimed"),
        Family("ioto_fleet_versions", "gauge", "devices that run the version", versions),
    ]


def _by_version(product: Row) -> dict[str, int]:
    counts: dict[str, int] = {"other": product["other"], "none": product["never"]}
    for version, n in product["versions"].items():
        counts[version] = counts.get(version, 0) + n  # a device may send the version `other`
    return counts


def _http(counted: dict[str, int]) -> list[Family]:
    samples = []
    for name in sorted(counted):
        if name.startswith("http "):
            _, call, status = name.split()
            samples.append(({"call": call, "status": status}, counted[name]))
    return [Family("ioto_http_requests_total", "counter", "requests by call and response status", samples)]


def _webhooks(found: list[Row]) -> list[Family]:
    samples = [({"webhook": each["id"]}, each["waiting"]) for each in found]
    return [Family("ioto_webhook_waiting", "gauge", "events that the webhook has not accepted yet", samples)]


def _disk(site: "Site") -> list[Family]:
    free = shutil.disk_usage(site.data).free
    return [Family("ioto_disk_free_bytes", "gauge", "free space on the disk of the site's folder", [({}, free)])]


def _process() -> list[Family]:
    def family(name: str, kind: str, value: float) -> Family:
        return Family("process_" + name, kind, "value of the worker process that answers this request", [({}, value)])

    used = resource.getrusage(resource.RUSAGE_SELF)
    found = [
        family("cpu_seconds_total", "counter", used.ru_utime + used.ru_stime),
        family("start_time_seconds", "gauge", _STARTED_S),
    ]
    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm") as f:
            resident = int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        found.append(family("resident_memory_bytes", "gauge", resident))
        found.append(family("open_fds", "gauge", len(os.listdir("/proc/self/fd"))))
    return found


def _text(family: Family) -> str:
    """The metric in Prometheus' text format."""
    name, kind, meaning, samples = family
    lines = ["# HELP %s %s" % (name, meaning[0].upper() + meaning[1:]), "# TYPE %s %s" % (name, kind)]
    for labels, value in samples:
        shown = ",".join('%s="%s"' % (label, _escaped(text)) for label, text in labels.items())
        lines.append("%s%s %s" % (name, "{%s}" % shown if shown else "", value))
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
