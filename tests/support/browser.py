"""Debian's Chromium, driven by Playwright: pages of the cloud, their errors and their requests."""

import shutil
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

PROGRAM = shutil.which("chromium")
needed = pytest.mark.skipif(not PROGRAM, reason="Chromium is not installed: apt-get install chromium")
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
_ARGUMENTS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync""".split()


@contextmanager
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=PROGRAM, args=_ARGUMENTS)
        try:
            yield started
        finally:
            started.close()


class Visitor:
    """A browser window of `size` for the cloud at `address`. `complaints`: errors, and requests to other hosts."""

    def __init__(self, browser, address, size, **options):
        self.context = browser.new_context(viewport=size, base_url=address + "/web/", **options)
        self.context.set_default_timeout(10_000)
        self.page = self.context.new_page()
        self.complaints = []
        self.page.on(
            "console", lambda message: message.type in ("error", "warning") and self.complaints.append(message.text)
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._check_host)
        self.host = urlsplit(address).netloc

    def _check_host(self, request):
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != self.host:
            self.complaints.append("a request to " + request.url)

    def sign_in(self, token):
        self.page.goto("sign-in")
        self.page.get_by_label("Operator's token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/web/")

    def wider_than_the_window(self):
        """The number of pixels by which the page is wider than the window; it must be 0 on a phone."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
