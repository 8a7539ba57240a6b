"""The page: self-contained, small, the same numbers as the JSON record, and drawn by a browser that has no network."""

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from synthetic import WEIGHTS, episodes

from envs.scenario_file import load
from reports.compare_command import together
from reports.comparison import compare
from reports.courses import courses
from reports.html import Part, page
from reports.measures import REWARD
from reports.overview import overview
from reports.record import write
from reports.results import digest, results
from reports.verdict import tied_for_best

EVALUATION = {"load": "synthetic <load> & more", "window_s": 1800.0, "bootstrap": {"resamples": 200, "seed": 0}}
ARGV = ["evaluate.py", "--policies", "infadapter,hpa"]
LIMIT_BYTES = 3_000_000
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def made(played, scenario, **changes):
    comparison = compare(played, WEIGHTS, np.random.default_rng(0), resamples=200)
    document = results(comparison, scenario, ARGV, {**EVALUATION, **changes})
    return comparison, document, page([Part(comparison, document, courses(comparison, played, scenario))])


@pytest.fixture(scope="module")
def scenario():
    return load("resnet-variants")


@pytest.fixture(scope="module")
def report(played, scenario):
    return made(played, scenario)


class References(HTMLParser):
    """Collects what a page would fetch."""

    def __init__(self):
        super().__init__()
        self.found, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.found += [v for name, v in attrs if name in ("src", "href", "action", "data", "poster", "srcset") and v]


def embedded(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S).group(1))


def test_nothing_is_fetched(report):
    references = References()
    references.feed(report[2])
    assert all(ref.startswith("#") for ref in references.found)
    assert not {"link", "img", "iframe", "object", "embed"} & set(references.tags)
    assert not re.search(
        r"url\(\s*['\"]?(?!#)|@import|fetch\(|XMLHttpRequest|import\(", report[2].replace("url(#${clip})", "")
    )
    assert "default-src 'none'" in report[2]


def test_the_numbers_are_those_of_the_json_record(report, tmp_path):
    comparison, document, text = report
    write(tmp_path / "out.json", document)
    stored = json.loads((tmp_path / "out.json").read_text(), parse_constant=lambda c: pytest.fail(f"{c} in JSON"))
    assert embedded(text)["results"] == stored
    shown = {(r["figure"], r["policy"]): r["value"] for r in stored["rows"] if r["statistic"] == "mean"}
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", text)
    for policy, row in zip(comparison.ranking(REWARD), rows):
        found = [float(v) for v in re.findall(r'data-value="([^"]+)"', row)]
        measures = ["reward", "violations", "accuracy", "cost", "latency p99", "decision time p50"]
        assert found == [shown[name, policy] for name in measures]


def test_text_from_outside_is_escaped(played, scenario):
    played = episodes(("infadapter", "hpa"), windows=1, seeds=1, intervals=4)
    for e in played:
        e.policy = f"</script><b>{e.policy}"
        e.decisions["reason"] = "<img src=x onerror=alert(1)>"
    _, _, text = made(played, scenario)
    assert "<b>" not in text.replace('T.make("b"', "") and "<img" not in text
    assert "synthetic &lt;load&gt; &amp; more" in text
    assert text.count("</script>") == 2


def test_four_policies_on_three_windows_of_four_hours_stay_small(scenario):
    text = made(episodes(windows=3, seeds=1, intervals=480), scenario)[2]
    assert len(text.encode()) < 2_000_000


def test_even_a_large_evaluation_stays_below_the_limit(scenario):
    lone = episodes(("infadapter", "ppo"), windows=1, seeds=1, intervals=1440)
    many = []
    for e in lone:
        for copy in range(3):
            for window in range(16):
                twin = type(e)(
                    f"{e.policy}-{copy}",
                    e.scenario,
                    e.trace,
                    0,
                    43200.0 * window,
                    e.intervals,
                    e.replicas,
                    e.decisions,
                    e.totals,
                )
                many.append(twin)
    comparison, _, text = made(many, scenario)
    assert len(text.encode()) < LIMIT_BYTES
    assert len(embedded(text)["courses"]["windows"]) == 12 and len(comparison.windows) == 16
    assert "12 of 16 windows are shown" in text and "One point is up to" in text and "decisions are left out" in text


def test_one_policy_on_one_window_makes_a_page(scenario):
    text = made(episodes(("static",), windows=1, seeds=1, intervals=4), scenario)[2]
    assert "nothing to compare" in text


def test_the_digest_knows_every_change(scenario):
    assert digest(scenario) == digest(load("resnet-variants"))
    assert digest(scenario) != digest(scenario.with_(service_cv=scenario.service_cv + 0.1))


@pytest.fixture(scope="module")
def two(scenario):
    """A report of two traces; on the second one the best policy of the first has been made worse."""
    parts = []
    for trace in ("monday", "tuesday"):
        played = episodes(("infadapter", "hpa", "static"), windows=3, seeds=1, intervals=20)
        for e in played:
            e.trace = trace
        if parts:
            best = parts[0].comparison.ranking(REWARD)[0]
            for e in played:
                e.totals["reward"] -= 1.0 if e.policy == best else 0.0
        comparison = compare(played, WEIGHTS, np.random.default_rng(0), resamples=200)
        document = results(comparison, scenario, ARGV, EVALUATION)
        parts.append(Part(comparison, document, courses(comparison, played, scenario, 2)))
    return parts


def test_two_traces_have_an_overview_and_are_never_pooled(two):
    first, second = (p.comparison.ranking(REWARD)[0] for p in two)
    assert first != second
    said = overview([p.comparison for p in two])
    tied = [tied_for_best(p.comparison, REWARD) for p in two]
    assert first not in tied[1]
    leaders = [p for p in two[0].comparison.policies if p in tied[0] and p in tied[1]]
    assert (" and ".join(leaders) + " ") in said.headline and ("all 2 traces" in said.headline) == bool(leaders)
    assert f"monday: {first} " in said.evidence and f"tuesday: {second} " in said.evidence
    text = page(two)
    assert said.headline in text and text.count('<article class="trace"') == 2 and text.count('role="tab"') == 2
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    both = [json.loads(t) for t in re.findall(r'<script type="application/json" id="[^"]*">(.*?)</script>', text, re.S)]
    assert [b["results"] for b in both] == [p.results for p in two]
    references = References()
    references.feed(text)
    assert all(ref.startswith("#") for ref in references.found)
    assert set(re.findall(r'aria-controls="([^"]+)"', text)) <= set(ids)


def test_the_record_of_two_traces_holds_every_row_with_its_trace(two):
    document = together(two, ARGV)
    assert len(document["rows"]) == sum(len(p.results["rows"]) for p in two)
    assert {row["trace"] for row in document["rows"]} == {"monday", "tuesday"} == set(document["traces"])


def browser(file, tmp_path, *options):
    """The page's DOM after its scripts ran, with every host name resolving to nothing, and the browser's console."""
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-sync",
            "--disable-background-networking",
            "--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=4000",
            *options,
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HOME": str(tmp_path)},
        check=False,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: the page is not drawn in a browser")
@pytest.mark.parametrize("width", [390, 1400])
def test_a_browser_draws_every_chart_without_the_network(report, tmp_path, width):
    file = tmp_path / "report.html"
    file.write_text(report[2], encoding="utf-8")
    dom, console = browser(file, tmp_path, f"--window-size={width},2400")
    assert console == []
    for name in ("pareto", "differences", "lanes", "why-rows"):
        part = dom[dom.index(f'id="{name}"') :]
        assert "<svg" in part[:4000] or "<tr" in part[:4000], name
    assert dom.count('class="policy"') == 4 and dom.count('class="load"') == 4
    assert "NaN" not in re.sub(r"<script.*?</script>", "", dom, flags=re.S)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: the page is not drawn in a browser")
def test_a_browser_shows_one_trace_and_draws_no_other_yet(two, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(page(two), encoding="utf-8")
    dom, console = browser(file, tmp_path, "--window-size=1400,2400")
    assert console == []
    first, second = (dom[dom.index(f'id="{at}trace"') :][: 400_000 if at else None] for at in ("", "t1-"))
    assert 'id="t1-trace" aria-label="tuesday" hidden' in dom and 'id="trace" aria-label="monday" hidden' not in dom
    assert first.count('class="policy"') == 3 and second.count('class="policy"') == 0
    assert 'aria-selected="true"' in dom
