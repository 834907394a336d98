"""A list of devices in Debian's Chromium: its number, its export, and an action on all devices in several batches."""

import csv

import busy_site
import pytest
from browser import PHONE, Visitor, browser, needed
from ioto_tools.cloud.operators import operator_tokens
from ioto_tools.cloud.site.site import Site

DEVICES = 1200  # three batches
pytestmark = [needed, pytest.mark.sweep]


@pytest.mark.parametrize("window", [PHONE])
def test_filter_export_and_change_a_list(tmp_path, serve, window):
    site = Site(tmp_path / "ioto-cloud", make=True)
    busy_site.fill(site, DEVICES)
    token = operator_tokens.new(site, "jo", "admin")["token"]
    site.close()
    _, address = serve()
    with browser() as chromium:
        visitor = Visitor(chromium, address, window, accept_downloads=True)
        page = visitor.page
        visitor.sign_in(token)
        page.get_by_role("link", name="Devices", exact=True).click()
        page.get_by_label("Property").fill("room!=none")
        page.locator("select[name=product]").select_option(label=busy_site.NAME)
        page.get_by_role("button", name="Search").click()
        page.get_by_text("1,200 devices").wait_for()
        assert page.locator("#devices tbody a[href^=device\\?]").count() == 50 and visitor.wider_than_the_window() == 0
        with page.expect_download() as started:
            page.get_by_role("link", name="CSV").click()
        with open(started.value.path(), newline="") as file:
            assert len(list(csv.reader(file))) == 1 + DEVICES
        page.get_by_text("Change all devices of this list").click()
        page.get_by_label("Version to pin").fill("1.5.0")
        page.get_by_role("button", name="Pin", exact=True).click()
        page.get_by_text("They are offered only this version").wait_for()
        assert visitor.wider_than_the_window() == 0
        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Pin", exact=True).click()
        page.get_by_text("Leave this page open").wait_for()
        page.get_by_text("Finished: 1,200 devices.").wait_for()
        page.get_by_role("link", name="Audit", exact=True).click()
        page.get_by_text("product.devices_pinned").wait_for()
        assert page.get_by_text("product.devices_pinned").count() == 1
        assert visitor.complaints == []
