"""Navigate by the links at the top, as a person does. This is faster than opening each page by its address."""

from __future__ import annotations

import re

from playwright.sync_api import Page

TITLES = {
    "": "Label",
    "grid": "Grid",
    "map": "Map",
    "review": "Review",
    "progress": "Progress",
    "models": "Models",
    "disagreements": "Disagreements",
    "data": "Data",
    "finish": "Finish",
    "settings": "Settings",
}
"""Address → the name of its link."""

# Streamlit's outermost element says whether the page's script runs. Elements of the last page go when the script ends.
COUNT = """() => {
  const app = document.querySelector("[data-testid=stApp]");
  window.scriptRuns = 0;
  window.followedAt = performance.now();
  new MutationObserver(() => {
    if (app.dataset.testScriptState === "notRunning") window.scriptRuns += 1;
  }).observe(app, { attributes: true, attributeFilter: ["data-test-script-state"] });
}"""

# A run may end before the first look. Then it is enough that no run has been under way for some time.
RAN = """() => scriptRuns > 0 || (performance.now() - followedAt > 5000 &&
  document.querySelector("[data-testid=stApp]").dataset.testScriptState === "notRunning")"""


def follow(page: Page, address: str) -> None:
    """Follow the link to the page, and wait until its script has run. A page of the labeler must be open."""
    page.evaluate(COUNT)
    page.get_by_test_id("stTopNavLink").filter(has_text=TITLES[address]).click()
    page.wait_for_url(re.compile(f"/{address}$"))
    page.wait_for_function(RAN, polling=100)  # and not before each frame, which would have to be drawn
