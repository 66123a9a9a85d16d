"""Make the pictures of the admin page during a training of the one-minute recipe: laptop and phone, light and dark.

    python docs/admin_screenshots.py [folder]

Jobs are kept in a temporary folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from screenshots import ARGUMENTS, CHROMIUM, DEVICES, ROOT, running_app

PASSWORD = "only for pictures"


def sign_in(page: Page) -> None:
    """Sign in and open the jobs."""
    page.get_by_test_id("stTextInputField").wait_for(timeout=120_000)
    page.get_by_test_id("stTextInputField").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Launch").wait_for(timeout=60_000)


def launch(page: Page) -> None:
    """Start a training and wait for a curve and an evaluation."""
    page.get_by_role("button", name="Launch").click()
    page.get_by_role("button", name="Cancel").wait_for(timeout=60_000)
    page.get_by_role("tab", name="Quality").click()
    page.locator(".js-plotly-plot .heatmaplayer").first.wait_for(state="attached", timeout=300_000)
    page.get_by_role("tab", name="Losses").click()


def main() -> None:
    """Photograph the form, then the training on every device in both colour schemes."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    sys.path.append(str(ROOT))
    with tempfile.TemporaryDirectory() as runs:
        os.environ["SIM2STREET_RUNS"] = runs
        from sim2street.training.jobs.access import set_password

        set_password(PASSWORD)
        with running_app() as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            begun = False
            for device, options in DEVICES.items():
                for scheme in ("light", "dark"):
                    context = browser.new_context(**options, color_scheme=scheme)
                    page = context.new_page()
                    page.goto(f"{address}/admin")
                    sign_in(page)
                    page.wait_for_timeout(1500)
                    if not begun:
                        page.screenshot(path=folder / "admin_form.png")
                        launch(page)
                        begun = True
                    else:
                        page.get_by_test_id("stButtonGroup").first.get_by_text("Jobs", exact=True).click()
                    page.locator(".js-plotly-plot .scatterlayer").first.wait_for(state="attached", timeout=60_000)
                    page.wait_for_timeout(1500)
                    page.screenshot(path=folder / f"admin_{device}_{scheme}.png")
                    context.close()
            browser.close()


if __name__ == "__main__":
    main()
