"""The page for one release: its progress on the devices, and the operator's actions."""

from typing import Any

from ..http.errors import CloudError
from ..operators import control, overview, release_files
from ..releases import term_warnings
from ..rollout import progress_samples
from ..rollout.lifecycle import MOVES
from ..rules import update_states
from ..rules.terms import TERMS
from ..site.site import Site
from ..storage.tables import Row
from .responses import Action, JsonData, Page, PageRequest, Redirect, link

# Groups of states on the page; page.js draws them in this order, from the bottom.
GROUPS = {
    "confirmed": ("confirmed",),
    "under_way": ("offered", "downloading", "staged", "applied"),
    "deferred": ("deferred",),
    "bad": tuple(sorted(update_states.FAILURES)),
    "past": ("refused", "superseded", "withdrawn"),
}
_MOVES: tuple[Action, ...] = (
    ("approved", "Approve", None),
    ("resumed", "Resume", None),
    ("paused", "Pause", None),
    ("cancelled", "Cancel", "Cancel this release permanently? It will never be offered again."),
)


def show(site: Site, request: PageRequest) -> Page:
    found = overview.update(site, request.query.get("id", ""))
    values = {
        "terms": found["terms"],
        "moves": _moves(found),
        "doubts": term_warnings.of_update(site, found),
        "failures": overview.release_failures(site, found["update"]),
        **release_files.of_release(site, found["update"]),
    }
    return Page("release.html", {"release": found, **values, **_progress(found, site.now_s())})


def _moves(release: Row) -> list[Action]:
    """The actions that the state of the release allows."""
    found: list[Action] = [move for move in _MOVES if release["state"] in MOVES[move[0]]]
    if release["state"] == "cancelled":
        return found
    return (
        found[:-1] + [("disable", "Disable", None) if release["enabled"] else ("enable", "Enable", None)] + found[-1:]
    )


def progress(site: Site, request: PageRequest) -> Page:
    """The part of the page that is refreshed. It shows whether the release was changed since the page was loaded."""
    found = overview.update(site, request.query.get("id", ""))
    values = _progress(found, site.now_s())
    seen = request.query.get("seen", "")
    return Page("progress.html", {"release": found, **values, "seen": seen, "changed": seen != values["seen"]})


def _progress(release: Row, now_s: int) -> dict[str, Any]:
    counts = grouped(release["states"])
    of, before = sum(counts.values()), 0.0
    bar: list[dict[str, Any]] = []
    for name, n in counts.items():
        share = round(100 * n / of, 3) if of else 0
        bar.append({"name": name, "before": before, "share": share})
        before = round(before + share, 3)
    retried = {
        state: n
        for state, n in _ordered(release["states"]).items()
        if state in update_states.RETRYABLE and release["state"] != "cancelled"
    }
    seen = str(next((row["id"] for row in release["audit"]), ""))  # the last change
    return {
        "bar": bar,
        "now": {"at_s": now_s, **counts},
        "states": _ordered(release["states"]),
        "seen": seen,
        "changed": False,
        "retried": retried,
    }


def grouped(states: dict[str, int]) -> dict[str, int]:
    """Sum {state: number of devices} by group: {group: number of devices}."""
    return {name: sum(states.get(state, 0) for state in of) for name, of in GROUPS.items()}


def _ordered(states: dict[str, int]) -> dict[str, int]:
    return {state: states[state] for state in update_states.STATES if state in states}


def history(site: Site, request: PageRequest) -> JsonData:
    """{"at_s": [..], group: [..]} from the first sample until now, for the chart."""
    found = overview.update(site, request.query.get("id", ""))
    rows = site.database.read(progress_samples.of, found["update"])
    rows = [(at_s, grouped(states)) for at_s, states in rows] + [(site.now_s(), grouped(found["states"]))]
    return JsonData(
        {"at_s": [at_s for at_s, _ in rows], **{name: [counts[name] for _, counts in rows] for name in GROUPS}}
    )


def act(site: Site, request: PageRequest) -> Redirect:
    id, action = request.form.get("id", ""), request.form.get("action", "")
    if action in ("enable", "disable"):
        control.enable(site, id, action == "enable")
    elif action in [move[0] for move in _MOVES]:
        control.change_state(site, id, action)
    elif action == "advance":
        control.advance(site, id, request.form_number("stage"))
    elif action in ("hold", "unhold"):
        control.hold(site, id, action == "hold")
    elif action == "retry":
        devices, states = ([request.form[name]] if request.form.get(name) else [] for name in ("device", "state"))
        control.retry(site, id, devices, states)
    else:
        raise CloudError("action %s: unknown" % action)
    return Redirect(link("release", id=id))


def set_terms(site: Site, request: PageRequest) -> Redirect:
    id = request.form.get("id", "")
    control.set_terms(site, id, terms_from_form(request.form, "none"))
    return Redirect(link("release", id=id))


def terms_from_form(form: dict[str, Any], blank: str | None) -> dict[str, str | None]:
    """{term: text} from a form; empty fields become `blank`, an empty period or gate None."""
    found = {name: form.get(name, "").strip() or blank for name in TERMS}
    return found | {name: None for name in ("period", "gate") if found[name] == blank}
