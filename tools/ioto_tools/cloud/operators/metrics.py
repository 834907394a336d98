"""The metrics page for Prometheus: rollouts and requests from the database (the same from every worker), and the
answering process.
"""

import os
import resource
import shutil
import time

from ..rules import update_states
from ..storage import counters
from . import overview, webhooks

TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STARTED_S = time.time()
# Name -> (meaning, the states that are counted).
_OUTCOMES = {
    "success": ("devices that run it for good", ("confirmed",)),
    "failed": (
        "devices on which it ended badly: what the stop rule counts, without those that are lost",
        update_states.BAD - {"lost"},
    ),
    "refused": ("devices that refused it for reasons of their own", ("refused",)),
    "withdrawn": ("devices that were kept from applying it", ("withdrawn",)),
    "deferred": ("devices that put it off", ("deferred",)),
    "lost": ("devices that were not heard of again", ("lost",)),
}


def text(site):
    """The whole page."""
    counted = site.database.read(counters.read)
    families = (
        _releases(overview.updates(site), counted)
        + _http(counted)
        + _webhooks(webhooks.listed(site))
        + _disk(site)
        + _process()
    )
    return "".join(_family(*family) for family in families)


def _releases(releases, counted):
    """Metric families by release; `started`: devices that have reported about the update, or whose outcome is known."""

    def family(name, kind, meaning, value):
        samples = [
            ({"product": each["product"], "version": each["version"], "update": each["update"]}, value(each))
            for each in releases
        ]
        return "ioto_release_" + name, kind, meaning, samples

    granted = {each["update"]: each.get("granted", sum(each["states"].values())) for each in releases}
    found = [
        family(
            "requests_total",
            "counter",
            "check-ins that were answered with it",
            lambda each: counted.get("release " + each["update"], 0),
        ),
        family("offered", "gauge", "devices that were ever offered it", lambda each: granted[each["update"]]),
        family(
            "started",
            "gauge",
            "devices that began with it",
            lambda each: granted[each["update"]] - each["states"].get("offered", 0),
        ),
    ]
    for name, (meaning, states) in _OUTCOMES.items():
        found.append(
            family(
                name,
                "gauge",
                meaning,
                lambda each, states=states: sum(each["states"].get(state, 0) for state in states),
            )
        )
    return found


def _http(counted):
    samples = []
    for name in sorted(counted):
        if name.startswith("http "):
            _, call, status = name.split()
            samples.append(({"call": call, "status": status}, counted[name]))
    return [
        ("ioto_http_requests_total", "counter", "requests by what was called and the status of the answer", samples)
    ]


def _webhooks(found):
    samples = [({"webhook": each["id"]}, each["waiting"]) for each in found]
    return [("ioto_webhook_waiting", "gauge", "events that a webhook has not taken yet", samples)]


def _disk(site):
    free = shutil.disk_usage(site.data).free
    return [("ioto_disk_free_bytes", "gauge", "free on the disk of the site's folder", [({}, free)])]


def _process():
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = [
        ("process_cpu_seconds_total", "counter", "of the worker that answers", [({}, used.ru_utime + used.ru_stime)]),
        ("process_start_time_seconds", "gauge", "of the worker that answers", [({}, _STARTED_S)]),
    ]
    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm") as f:
            resident = int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        found.append(("process_resident_memory_bytes", "gauge", "of the worker that answers", [({}, resident)]))
        found.append(
            ("process_open_fds", "gauge", "of the worker that answers", [({}, len(os.listdir("/proc/self/fd")))])
        )
    return found


def _family(name, kind, meaning, samples):
    lines = ["# HELP %s %s" % (name, meaning[0].upper() + meaning[1:]), "# TYPE %s %s" % (name, kind)]
    for labels, value in samples:
        shown = ",".join('%s="%s"' % (label, _escaped(text)) for label, text in labels.items())
        lines.append("%s%s %s" % (name, "{%s}" % shown if shown else "", value))
    return "\n".join(lines) + "\n"


def _escaped(text):
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
