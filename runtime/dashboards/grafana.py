"""The dashboard as Grafana's JSON, and the file that has Grafana load it from a folder.

A stable `uid` and no `id`, so that it replaces itself when it is loaded again; the Prometheus is a variable.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runtime.dashboards.panels import ROWS, Panel

WIDTH, HEIGHT, COLUMNS = 8, 7, 3  # of 24 columns
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
PROVIDER = {
    "apiVersion": 1,
    "providers": [{"name": "tidal", "type": "file", "folder": "Tidal", "options": {"path": "/etc/grafana/dashboards/tidal"}}],
}


def dashboard() -> dict[str, Any]:
    """The whole dashboard."""
    return {
        "uid": "tidal", "title": "Tidal", "tags": ["tidal"], "schemaVersion": 39, "version": 1, "editable": True,
        "time": {"from": "now-1h", "to": "now"}, "refresh": "10s", "timezone": "browser", "graphTooltip": 1,
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}]},
        "panels": list(_panels()),
    }  # fmt: skip


def _panels() -> Iterator[dict[str, Any]]:
    """Rows, each a title with its panels below, three side by side."""
    number, y = 0, 0
    for title, panels in ROWS.items():
        number += 1
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
               "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}}  # fmt: skip
        y += 1
        for place, panel in enumerate(panels):
            number += 1
            yield _panel(number, panel, WIDTH * (place % COLUMNS), y + HEIGHT * (place // COLUMNS))
        y += HEIGHT * -(-len(panels) // COLUMNS)


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number, "type": "timeseries", "title": panel.title, "description": panel.text, "datasource": SOURCE,
        "gridPos": {"h": HEIGHT, "w": WIDTH, "x": x, "y": y},
        "fieldConfig": {"defaults": {"unit": panel.unit, "custom": {"lineWidth": 1, "fillOpacity": 8}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [{"refId": chr(ord("A") + i), "expr": expression, "legendFormat": legend, "datasource": SOURCE}
                    for i, (legend, expression) in enumerate(panel.queries.items())],
    }  # fmt: skip
