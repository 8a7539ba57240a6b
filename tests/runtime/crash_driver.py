"""An autoscaler process that dies at a chosen point: URL, folder, last time (s), and POINT@TIME or `never`.

Time is the simulated service's: this process tells it to go on. Points, in their order within a decision: before the intent
is written; when half of it is; after it; after the action; when half of the outcome is written; after it.
"""

import json
import os
import sys
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import requests  # noqa: E402
from autoscaling import autoscaler, run  # noqa: E402
from simulated_service import FakeClock  # noqa: E402

from envs.contract import Decision, Policy  # noqa: E402
from envs.scenario_file import load  # noqa: E402
from runtime.actuators.cluster import ClusterActuator  # noqa: E402
from runtime.autoscaler.journal import Journal  # noqa: E402
from runtime.sources.page import SourceError  # noqa: E402
from runtime.sources.scrape import Scraper  # noqa: E402
from runtime.sources.source import PagedSource  # noqa: E402


class MeanOfThree(Policy):
    """Chooses among three deployments by the mean of the last three loads: a policy that needs its memory."""

    memory_intervals = 3

    def reset(self, scenario):
        self._loads, self._scenario = deque(maxlen=3), scenario

    def decide(self, observation):
        self._loads.append(observation.services["classify"].offered_rps)
        mean = float(np.nanmean([0.0, *self._loads]))
        levels = (0, 0, 1) if mean < 35 else (0, 2, 0) if mean < 55 else (2, 0, 0)
        return Decision(self._scenario.deployment(levels), f"mean {mean:.6g}")


class PastScraper(Scraper):
    """Scrapes the simulated service, which knows its past as a Prometheus does."""

    def __init__(self, url):
        super().__init__([f"{url}/metrics"], 10.0)
        self._url = url

    def pages_at(self, t_s):
        past = Scraper([f"{self._url}/metrics?{t_s}"], 10.0)
        try:
            return {f"{self._url}/metrics": page for page in past.pages().values()}
        except SourceError:
            return {}
        finally:
            past.close()


def dying(point, time_s):
    """A journal and an actuator that end the process at a point of the decision at a time."""
    reached = {"due": False}

    def die(here):
        if reached["due"] and here == point:
            os._exit(9)

    class DyingJournal(Journal):
        def append(self, record):
            kind = record["type"]
            if kind == "intent":
                reached["due"] = record["t_s"] == time_s
            die(f"before-{kind}")
            if reached["due"] and point == f"torn-{kind}":
                line = json.dumps(record).encode()
                os.write(self._file, line[:len(line) // 2])
                os._exit(9)
            super().append(record)
            die(f"after-{kind}")

    class DyingActuator(ClusterActuator):
        def apply(self, *arguments):
            found = super().apply(*arguments)
            die("after-action")
            return found

    return DyingJournal, DyingActuator


def main(url, folder, last_s, crash):
    """Runs an autoscaler on a simulated service until a time, or until it dies."""
    point, _, time_s = crash.partition("@")
    journal, actuator = dying(point, float(time_s or "nan"))
    scenario, folder = load("live-demo"), Path(folder)

    def on_time(t_s):
        requests.put(f"{url}/clock", json={"t_s": t_s}, timeout=10)

    clock = FakeClock(requests.get(f"{url}/clock", timeout=10).json()["t_s"], float(last_s), on_time)
    reader, control = PastScraper(url), actuator(url, folder / "token", 10.0)
    source = PagedSource(scenario, reader, scenario.interval_s)
    run(autoscaler(scenario, MeanOfThree(), source, control, folder / "journal", clock, open_journal=journal))
    reader.close()
    control.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
