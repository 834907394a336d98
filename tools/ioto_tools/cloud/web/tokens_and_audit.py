"""The pages for operator tokens and the audit log."""

from ioto import duration

from ..http.errors import CloudError
from ..operators import operator_tokens
from ..site.site import Site
from ..storage import audit as audit_rows
from .responses import Page, PageRequest

ROWS = 50


def tokens(site: Site, request: PageRequest) -> Page:
    return Page("tokens.html", {"tokens": operator_tokens.listed(site), "made": None})


def change_tokens(site: Site, request: PageRequest) -> Page:
    """Create a token, which is shown only once, or revoke one."""
    form = request.form
    if name := form.get("revoke"):
        operator_tokens.revoke(site, name)
        made = None
    else:
        name, scope, lifetime, products = (
            form.get(each, "").strip() for each in ("name", "scope", "lifetime", "products")
        )
        made = operator_tokens.new(site, name, scope, _lifetime(lifetime), products.split() or None)
    return Page("tokens.html", {"tokens": operator_tokens.listed(site), "made": made})


def _lifetime(text: str) -> int | None:
    try:
        return duration.parse(text) if text else None
    except ValueError as e:
        raise CloudError("lifetime %s: %s" % (text, e)) from e


def audit(site: Site, request: PageRequest) -> Page:
    """The newest audit rows, or those older than the row `before`; only those about `subject` if given."""
    subject = request.query.get("subject", "").strip()
    rows = site.database.read(audit_rows.newest, ROWS + 1, subject or None, request.number("before"))
    more = rows[ROWS - 1]["id"] if len(rows) > ROWS else None
    return Page("audit.html", {"rows": rows[:ROWS], "subject": subject, "more": more})
