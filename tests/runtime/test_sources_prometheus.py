"""A real Prometheus and a direct scrape of the same pages: the same observations."""

import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest
from autoscaling import PATIENCE_S
from simulated_service import SimulatedService, serve, swelling_load

from envs.scenario_file import load
from runtime.sources.page import SourceError
from runtime.sources.prometheus import PrometheusReader
from runtime.sources.scrape import Scraper
from runtime.sources.source import PagedSource
from runtime.sources.window import Window

BINARY = shutil.which("prometheus")
WAIT_S = 20.0

pytestmark = pytest.mark.skipif(BINARY is None, reason="no prometheus: install the package prometheus")


@contextmanager
def prometheus(folder, target):
    """A Prometheus that scrapes a target five times a second; gives its URL."""
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
        f"scrape_configs: [{{job_name: tidal, static_configs: [{{targets: ['{target}']}}]}}]\n")
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [BINARY, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             "--web.listen-address=127.0.0.1:0"], stdout=out, stderr=out)
    try:
        yield f"http://{until(lambda: address(log))}"
    finally:
        process.terminate()
        process.wait(30)


def address(log):
    """Where it listens, from its log: `... msg="Listening on" address=127.0.0.1:34567`."""
    for line in log.read_text().splitlines():
        if "Listening on" in line and "address=" in line:
            return line.partition("address=")[2].split()[0].strip('"')
    return None


def until(function):
    """What a function returns as soon as it returns something."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if (found := function()) is not None:
            return found
        time.sleep(0.05)
    raise AssertionError(f"nothing within {WAIT_S} s")


def scraped(reader, page_s):
    """The pages, once Prometheus has scraped the one of this time."""
    def newest():
        try:
            pages = reader.pages()
        except SourceError:
            return None
        return pages if any(page and page.exposed_s == page_s for page in pages.values()) else None

    return until(newest)


def test_both_sources_give_the_same_observations_until_target_and_prometheus_are_gone(tmp_path):
    scenario = load("resnet-variants")
    service = SimulatedService(scenario, swelling_load(scenario, 50, 200))
    with serve(service) as url:
        target = url.removeprefix("http://")
        scraper = Scraper([f"{url}/metrics"], PATIENCE_S)
        with prometheus(tmp_path, target) as prometheus_url:
            reader = PrometheusReader(prometheus_url, timeout_s=PATIENCE_S)
            direct, through = PagedSource(scenario, scraper, 30), Window(scenario)
            for interval in range(5):
                t_s = 30.0 * interval
                service.advance_to(t_s)
                if interval == 2:  # so that kinds come and go
                    service.desired = scenario.deployment((3, 0, 12, 0, 0))
                pages = scraped(reader, max(0.0, t_s - 1))
                both = direct.read(t_s, service.desired), through.take(pages, t_s, service.desired)
                assert repr(both[0]) == repr(both[1])
            assert both[0].age_s == 1 and [row.ready for row in both[0].kinds.values() if row.ready] == [1, 1]

            at_s = time.time()
            service.advance_to(150.0)
            scraped(reader, 149.0)
            assert reader.pages_at(at_s)[target].exposed_s == 119.0  # what it was then

            service.pages.clear()  # the target answers 404: its series vanish
            assert until(lambda: next((p for p in [reader.pages()] if None in p.values()), None)) == {target: None}
        with pytest.raises(SourceError):
            reader.pages()
        reader.close()
        scraper.close()
