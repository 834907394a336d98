"""The page to publish a release, with warnings about its policy and a dry run."""

import json
from typing import Any

from .. import policy
from ..api.operations import IMAGE_BYTES
from ..http.errors import CloudError
from ..operators import groups, overview
from ..releases import publish as publishing
from ..releases import term_warnings
from ..rules import selection, terms
from ..site.site import Site
from ..storage import queries
from .devices import REASONS
from .dispatch import FORM_BYTES
from .releases import terms_from_form
from .responses import Page, PageRequest, Redirect, check_text, link

UPLOAD_BYTES = IMAGE_BYTES + FORM_BYTES
SLICE = 10_000  # devices evaluated between two progress updates of a dry run


def form(site: Site, request: PageRequest) -> Page:
    blank = dict.fromkeys(terms.TERMS)
    product = request.query.get("product", "")
    values = {
        "products": site.database.read(queries.product_names),
        "product": product,
        "groups": groups.listed(site),
        "terms": blank,
    }
    return Page("publish.html", values)


def publish(site: Site, request: PageRequest) -> Redirect:
    form = request.form
    image: Any = form.get("image")
    if not getattr(image, "filename", ""):
        raise CloudError("image: choose a file")
    release, new = publishing.publish_file(
        site, image.file, image.filename, form.get("product", ""), form.get("version", "").strip(),
        form.get("description", "").strip(), any_file="any_file" in form, said=_terms(site, form),
        by_hand="by_hand" in form, begin_at_once="begin_at_once" in form,
    )  # fmt: skip
    return Redirect(link("release", id=release["id"]))


def _terms(site: Site, form: dict[str, Any]) -> dict[str, str | None]:
    found = terms_from_form(form, None)
    if name := form.get("group"):
        found["policy"] = groups.combine(groups.policy(site, name), found["policy"])
    return found


def check(site: Site, request: PageRequest) -> Page:
    """Warnings about the policy in the form, or its error."""
    text = request.form.get("policy", "")
    try:
        check = term_warnings.of_search if request.form.get("search") else term_warnings.of_policy
        found = check(site, _product(site, request.form), text) if text.strip() else []
    except policy.PolicyError as e:
        line = text.splitlines()[e.line - 1 : e.line] or [""]
        return Page("policy-check.html", {"error": str(e), "line": line[0], "caret": " " * (e.column - 1) + "^"})
    return Page("policy-check.html", {"error": None, "doubts": found})


def _product(site: Site, form: dict[str, Any]) -> str | None:
    """The product in the form, or the product of the form's release, or None."""
    if form.get("id"):
        return overview.update(site, form["id"])["product"]
    return form.get("product") or None


def dry_run(site: Site, request: PageRequest) -> Page:
    """Dry run for one slice of the devices; the page requests the next slice by itself."""
    form = request.form
    version = form.get("version", "").strip()
    found = publishing.dry_run_slice(site, form.get("product", ""), version, _terms(site, form), _so_far(form), SLICE)
    again = {name: form[name] for name in ("product", "version", "group", *terms.TERMS) if name in form}
    again["so_far"] = json.dumps(found)
    return Page(
        "dry-run.html",
        {"found": found, "again": again, "words": REASONS, "doubts": terms.version_warnings(version) + found["doubts"]},
    )


def _so_far(form: dict[str, Any]) -> dict[str, Any] | None:
    """The result of the earlier slices, which the page sends back. CloudError if it is invalid."""
    if "so_far" not in form:
        return None
    try:
        said = json.loads(form["so_far"])
        found = {
            why: _reason(each)
            for why, each in said["found"].items()
            if why in (*selection.REASONS_NOT_OFFERED, "offered")
        }
        slots = {check_text(str(id)): int(n) for id, n in said["slots"].items()}
        return {
            "devices": int(said["devices"]),
            "after": check_text(str(said["after"])),
            "found": found,
            "slots": slots,
        }
    except (ArithmeticError, ValueError, TypeError, KeyError, AttributeError) as e:
        raise CloudError("dry run: its progress was lost: start it again") from e


def _reason(said: dict[str, Any]) -> dict[str, Any]:
    return {"count": int(said["count"]), "examples": [check_text(str(id)) for id in said["examples"]]}
