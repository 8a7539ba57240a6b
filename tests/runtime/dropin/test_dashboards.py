"""Every query of the dashboard returns numbers from a real Prometheus; promtool checks the alerts and plays them stories."""

import json
import math
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from running import until
from simulated_service import SimulatedService, swelling_load

from envs.scenario_file import load
from runtime import metrics as m
from runtime.__main__ import main
from runtime.autoscaler.meters import Meters
from runtime.dashboards.alerts import alerts
from runtime.dashboards.panels import RATE, ROWS

QUERIES = [query for panels in ROWS.values() for panel in panels for query in panel.queries.values()]
PROMTOOL = shutil.which("promtool")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dashboards")
    assert main(["dashboards", "--out", str(folder)]) == 0
    return folder


class Page(BaseHTTPRequestHandler):
    """A cluster's page after one more interval each time, and an autoscaler's after one more decision."""

    def do_GET(self):
        body = self.cluster() if self.path == "/metrics" else self.autoscaler()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def live(scraped):
    """Both scraped, until they have been a few times."""
    scenario, meters, lock = load("live-demo"), Meters(), threading.Lock()
    service, looks = SimulatedService(scenario, swelling_load(scenario, 5, 50)), [0]
    more = "".join(f'{m.ANSWERS.name}{{service="classify",variant="{v}",tenant="default"}} 1\n' for v in scenario.variants)

    def cluster(_):
        with lock:
            looks[0] += 1
            service.advance_to(looks[0] * scenario.interval_s)
            return f"{service.page().decode()}{m.VERSION.name} {looks[0]}\n{more}".encode()

    def autoscaler(_):
        meters.decisions.labels("applied").inc()
        meters.tick.observe(0.01)
        meters.leading.set(1)
        return generate_latest(meters.registry)

    handler = type("Both", (Page,), {"cluster": cluster, "autoscaler": autoscaler})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    target = f"127.0.0.1:{server.server_port}"
    scraped.add("a-cluster", target)
    scraped.add("an-autoscaler", target, "/autoscaler")
    yield scraped
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_of_the_dashboard_returns_numbers(live, query):
    def numbers():
        rows = live.ask(query.replace(RATE, "10s"))
        return [float(row["value"][1]) for row in rows if math.isfinite(float(row["value"][1]))]

    assert until(numbers, f"{query} has data")


def test_the_dashboard_can_be_loaded_again_and_from_a_folder(written):
    told = json.loads((written / "tidal.json").read_text())
    assert told["uid"] == "tidal" and "id" not in told  # replaces itself
    panels = [panel for panel in told["panels"] if panel["type"] != "row"]
    assert [t["expr"] for panel in panels for t in panel["targets"]] == QUERIES
    assert {t["datasource"]["uid"] for panel in panels for t in panel["targets"]} == {"${datasource}"}
    assert len({panel["id"] for panel in told["panels"]}) == len(told["panels"])
    taken = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in told["panels"]]
    assert len(set(taken)) == len(taken) and max(p["gridPos"]["x"] + p["gridPos"]["w"] for p in panels) <= 24
    provider = yaml.safe_load((written / "provider.yaml").read_text())
    assert provider["apiVersion"] == 1 and provider["providers"][0]["type"] == "file"


def test_own_names_in_queries_are_of_the_contract():
    known = {series.name for series in m.CONTRACT} | {m.BUCKET} | {
        f"{sample.name}" for family in Meters().registry.collect() for sample in family.samples}
    known |= {f"{family.name}_total" for family in Meters().registry.collect() if family.type == "counter"}
    words = {word for text in [*QUERIES, *(a.condition for a in alerts("tidal", "a"))] for word in _names(text)}
    assert words <= known


def _names(text):
    return re.findall(r"\btidal_\w+", text)


def promtool(*arguments):
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool: install the package prometheus")
def test_promtool_accepts_the_rules_and_each_alert_fires_when_it_should_and_only_then(written, tmp_path):
    checked = promtool("check", "rules", written / "tidal.rules.yaml")
    assert checked.returncode == 0, checked.stderr
    assert f"{len(alerts('tidal', 'a')) + 1} rules found" in checked.stdout
    stories = Path(__file__).parent / "alerts.yaml"
    shutil.copy(written / "tidal.rules.yaml", tmp_path)
    shutil.copy(stories, tmp_path)
    played = promtool("test", "rules", tmp_path / "alerts.yaml")
    assert played.returncode == 0, played.stdout + played.stderr
    fired = {row["alertname"] for story in yaml.safe_load(stories.read_text())["tests"] for row in story["alert_rule_test"]
             if "exp_alerts" in row}
    assert fired == {alert.name for alert in alerts("tidal", "a")}
