"""The parts of a live system as processes: cluster, autoscaler, Prometheus and clients, and what each says of itself."""

import json
import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest
import requests
import yaml
from open_load import ROW
from prometheus_client.parser import text_string_to_metric_families
from running import free_port, until

from envs.scenario_file import load
from runtime.autoscaler.journal import newest_first
from runtime.deployment_json import from_json, to_json

HERE = Path(__file__).resolve().parent
ECHO = HERE / "scenarios" / "echo.yaml"
MODELS = {"quick": "echo_models:quick", "good": "echo_models:good"}
TIMEOUT_S = 20.0

# What replicas are: arguments of `Cluster`.
CPU, GPU = "cpu", pytest.param("cuda:0", marks=pytest.mark.gpu)
CUDA = pytest.param({"models": MODELS, "device": "cuda:0"}, marks=pytest.mark.gpu, id="cuda")
EMULATED, WORKERS = pytest.param({}, id="emulated"), pytest.param({"models": MODELS}, id="workers")


def page(text):
    """The samples of a text exposition: by name and labels, sorted, their values."""
    return {(s.name, *sorted(s.labels.items())): s.value for f in text_string_to_metric_families(text) for s in f.samples}


def variation(folder, of=ECHO, **changes):
    """A scenario file that differs from another one in some fields; those of tables are added to them."""
    said = yaml.safe_load(of.read_text())
    for name, change in changes.items():
        said[name] = said.get(name, {}) | change if isinstance(change, dict) else change
    file = folder / of.name
    file.write_text(yaml.safe_dump(said))
    shutil.copy(of.parent / said["profile"], folder)
    return file


class Cluster:
    """`tidal serve` with free ports.

    Args:
        processes: starts it.
        folder: for its files.
        scenario: a file.
        models: what runs for each variant, in worker processes; None: replicas are emulated.
        device: of these.
        tokens: of its callers.
    """

    def __init__(self, processes, folder, *arguments, scenario=ECHO, models=None, device="cpu", tokens=None, **environment):
        self.scenario, self.tokens = load(scenario), tokens or {}
        for option, said in (("--models", models and {"variants": models, "device": device}), ("--tokens", tokens)):
            if said:
                file = folder / f"{option[2:]}.yaml"
                file.write_text(yaml.safe_dump(said))
                arguments += (option, file)
        self.running = processes.tidal("serve", "--scenario", scenario, "--gateway", "127.0.0.1:0",
                                       "--control", "127.0.0.1:0", *arguments, **environment)
        self.gateway, self.control = self.running.waits_for(r"requests (\S+), control (\S+)")
        processes.addresses += [self.gateway, self.control]
        self.session = requests.Session()
        if operator := self.tokens.get("operator"):
            self.session.headers["Authorization"] = f"Bearer {operator}"
        self.settles()

    def get(self, path):
        answer = self.session.get(f"{self.control}{path}", timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.json()

    def settles(self):
        """Waits until all replicas that are wanted are ready, and no others are there."""
        until(lambda: self.get("/v1/replicas")["settled"], lambda: f"it settles:\n{self.running.text}")

    @property
    def version(self):
        return int(self.get("/v1/deployment")["version"])

    @property
    def deployment(self):
        return from_json(self.get("/v1/deployment")["deployment"])

    def want(self, *levels, decision_id=""):
        """Changes the deployment to these levels of the candidates."""
        body = {"deployment": to_json(self.scenario.deployment(levels)), "decision_id": decision_id}
        answer = self.session.put(f"{self.control}/v1/deployment", json=body, timeout=TIMEOUT_S,
                                  headers={"If-Match": f'"{self.version}"'})
        assert answer.status_code == 200, answer.text

    def events(self, what=None, after=0):
        return [e for e in self.get(f"/v1/events?after={after}")["events"] if what in (None, e["what"])]

    def page_text(self):
        headers = {"Authorization": f"Bearer {self.tokens['scrape']}"} if "scrape" in self.tokens else {}
        answer = requests.get(f"{self.gateway}/metrics", headers=headers, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.text

    def states(self):
        """Replicas by state, at one moment."""
        found = Counter()
        for (name, *labels), value in page(self.page_text()).items():
            if name == "tidal_kind_replicas":
                found[dict(labels)["state"]] += int(value)
        return found

    def sums(self, name, **labels):
        """A series of the gateway's page, summed over the labels that are not given."""
        return sum(value for (n, *with_), value in page(self.page_text()).items()
                   if n == name and labels.items() <= dict(with_).items())


class Autoscaler:
    """`tidal autoscale` on a cluster, journaling in a folder."""

    def __init__(self, processes, cluster, journal, policy, *arguments, source="scrape", url=None,
                 command=("-m", "runtime"), **environment):
        self.journal = journal
        self.running = processes.python(
            *command, "autoscale", "--scenario", _scenario_file(cluster), "--policy", policy, "--fallback", "static",
            "--source", source, "--url", url or f"{cluster.gateway}/metrics", "--actuator", "cluster",
            "--control", cluster.control, "--journal", journal, *arguments, **environment)

    @cached_property
    def url(self):
        return self.running.waits_for(r"; (http://\S+)/metrics$")[0]

    def page_text(self):
        answer = requests.get(f"{self.url}/metrics", timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.text

    def value(self, name, **labels):
        """One series of its own page, without the common prefix."""
        return page(self.page_text())[f"tidal_autoscaler_{name}", *sorted(labels.items())]

    def health(self):
        return requests.get(f"{self.url}/healthz", timeout=TIMEOUT_S).json()

    def records(self, kind="intent"):
        """What it has journaled, the oldest first."""
        return [record for record in newest_first(self.journal) if record["type"] == kind][::-1]

    def decides(self, count=1, more=lambda intent: True):
        """Waits for so many further decisions, of those that are as asked for; gives them."""
        before = len(self.records())

        def found():
            assert self.running.running, self.running.text
            said = [intent for intent in self.records()[before:] if more(intent)]
            return said if len(said) >= count else None
        return until(found, lambda: f"{count} decisions:\n{self.running.text[-3000:]}")


def _scenario_file(cluster):
    return cluster.running.process.args[cluster.running.process.args.index("--scenario") + 1]


class Prometheus:
    """A real one, that scrapes targets five times a second."""

    def __init__(self, processes, folder, **jobs):
        """Each job is the list of its targets' URLs."""
        if not (binary := shutil.which("prometheus")):
            pytest.skip("no prometheus here: apt-get install prometheus")
        self._processes, self._folder, self._binary = processes, folder, binary
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        processes.addresses.append(self.url)
        self.configure(**jobs)
        self._lives = 0
        self.start()

    def configure(self, **jobs):
        """Says what is to be scraped, from its next start or reload on."""
        configs = [{"job_name": job, "static_configs": [{"targets": [re.sub("^http://", "", url) for url in urls]}]}
                   for job, urls in jobs.items()]
        said = {"global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"}, "scrape_configs": configs}
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(said))

    def start(self):
        """Starts it, without any past."""
        self._lives += 1
        self.running = self._processes.start(
            self._binary, f"--config.file={self._folder}/prometheus.yml", f"--web.listen-address=127.0.0.1:{self.port}",
            f"--storage.tsdb.path={self._folder}/data-{self._lives}", "--web.enable-lifecycle", "--log.level=warn")
        until(self.ready, lambda: f"it is ready:\n{self.running.text}")

    def ready(self):
        assert self.running.running, self.running.text
        try:
            return requests.get(f"{self.url}/-/ready", timeout=1).ok
        except requests.RequestException:
            return False

    def reload(self):
        requests.post(f"{self.url}/-/reload", timeout=TIMEOUT_S).raise_for_status()

    def query(self, expression):
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=TIMEOUT_S)
        return answer.json()["data"]["result"]

    def scrapes(self, job="tidal"):
        """Waits until it has scraped all targets of a job."""
        until(lambda: (rows := self.query(f'up{{job="{job}"}}')) and all(row["value"][1] == "1" for row in rows),
              f"{job} is scraped")


@dataclass
class Answers:
    """What became of the requests of a load."""

    rows: list = field(default_factory=list)

    def __len__(self):
        return len(self.rows)

    @property
    def statuses(self):
        return Counter(row["status"] for row in self.rows)

    @property
    def variants(self):
        return Counter(row["variant"] for row in self.rows if row["status"] == 200)

    @property
    def wrong(self):
        """Those that were not answered with their own data."""
        return [row for row in self.rows if not row["right"]]

    def between(self, from_s, to_s):
        """Those that were due in this time."""
        return Answers([row for row in self.rows if from_s <= row["due_s"] < to_s])

    def within(self, slo_s):
        """Share that was answered rightly in time."""
        return sum(row["right"] and row["done_s"] - row["due_s"] <= slo_s for row in self.rows) / max(1, len(self.rows))

    def all_right(self):
        """Every request was answered, once, with what was its own."""
        assert self.rows and not self.wrong, f"{len(self.wrong)} of {len(self)}: {self.wrong[:5]}"
        return self


class Load:
    """Open-loop clients in a process of their own."""

    def __init__(self, processes, cluster, load, service="classify", token=""):
        self.running = processes.python(HERE / "open_load.py", cluster.gateway, service, load, *filter(None, [token]))
        self.running.waits_for("^started")

    def end(self):
        """Sends no more, and tells what became of all that was sent."""
        self.running.process.stdin.close()
        assert self.running.wait() == 0, self.running.text
        return Answers([dict(zip(ROW, row)) for row in json.loads(self.running.lines[-1])])
