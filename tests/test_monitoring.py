"""The dashboard shows every existing metric, and no others."""

import json
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
METRIC = re.compile(r"flywheel_(?:labeler|trainer)_\w+")


def test_the_dashboard_asks_for_every_metric_of_the_documented_tables():
    dashboard = json.loads((DOCS / "files" / "grafana.json").read_text(encoding="utf-8"))
    asked = {
        name for panel in dashboard["panels"] for each in panel["targets"] for name in METRIC.findall(each["expr"])
    }
    page = (DOCS / "guides" / "monitoring.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(flywheel_\w+)` \|", page, re.MULTILINE))
    assert asked == told


def test_panels_have_places_of_their_own():
    dashboard = json.loads((DOCS / "files" / "grafana.json").read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
