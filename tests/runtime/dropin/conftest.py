"""One real Prometheus for all tests of this folder; what it scrapes can be added to."""

import shutil

import pytest
import requests
import yaml
from exporter import BROKEN, SYSTEMS
from running import Processes, free_port, until

SCRAPE_S = 0.5
OTHERS = ("nobody", "milliseconds", "percent")


class Scraped:
    """A Prometheus that scrapes each set-up of the exporter as a job of its name."""

    def __init__(self, processes, folder):
        self.processes = processes
        exporter = processes.python("tests/runtime/dropin/exporter.py")
        self.exporter, (port,) = exporter, exporter.waits_for(r"^(\d+)$")
        self._jobs = {name: (f"/{name}", f"127.0.0.1:{port}") for name in (*SYSTEMS, *BROKEN, *OTHERS)}
        self._file, own = folder / "prometheus.yml", free_port()
        self.url = f"http://127.0.0.1:{own}"
        self._write()
        processes.addresses.append(self.url)
        self.running = processes.start(
            "prometheus", f"--config.file={self._file}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{own}", "--web.enable-lifecycle")
        self.waits_for_samples(*self._jobs)

    def add(self, job, target, path="/metrics"):
        """Has another target scraped."""
        self._jobs[job] = (path, target)
        self._write()
        until(lambda: requests.post(f"{self.url}/-/reload", timeout=10).status_code == 200, "it reloads")
        self.waits_for_samples(job)

    def waits_for_samples(self, *jobs, count=4):
        """Until each job was scraped so often."""
        until(lambda: {row["metric"]["job"] for row in self.ask(f"count_over_time(up[10m]) >= {count}")} >= set(jobs),
              lambda: f"all jobs are scraped:\n{self.running.text[-2000:]}")

    def ask(self, query):
        try:
            return requests.get(f"{self.url}/api/v1/query", params={"query": query}, timeout=10).json()["data"]["result"]
        except requests.RequestException:  # not up yet
            return []

    def _write(self):
        jobs = [{"job_name": job, "metrics_path": path, "static_configs": [{"targets": [target]}]}
                for job, (path, target) in self._jobs.items()]
        every = {"scrape_interval": f"{SCRAPE_S * 1e3:.0f}ms", "scrape_timeout": f"{SCRAPE_S * 1e3:.0f}ms",
                 "evaluation_interval": "1s"}
        self._file.write_text(yaml.safe_dump({"global": every, "scrape_configs": jobs}))


@pytest.fixture(scope="session")
def scraped(tmp_path_factory):
    if not shutil.which("prometheus"):
        pytest.skip("no prometheus: install the package prometheus")
    processes = Processes()
    try:
        yield Scraped(processes, tmp_path_factory.mktemp("scraped"))
    finally:
        processes.close()
