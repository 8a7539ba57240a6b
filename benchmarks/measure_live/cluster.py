"""`tidal serve` under measurement: a scenario made here, its process, and its control API."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
import yaml

from benchmarks.measure_live.processes import Server

NOOP = {"noop": "benchmarks.measure_live.models:noop"}
PATIENCE_S = 60.0
LOOK_S = 0.01


def scenario(name: str, latency_s: Mapping[str, Mapping[int, float]], candidates: list[dict[str, Any]], initial: list[int],
             **more: Any) -> dict[str, Any]:
    """A scenario of one service.

    Args:
        name: of it and its service.
        latency_s: by variant and batch size, on one core.
        candidates: see `docs/scenarios.md`.
        initial: replicas of each candidate at the start.
        more: fields.
    """
    loaded = [{"candidate": i, "level": n} for i, n in enumerate(initial) if n]
    return {
        "name": name, "source": "made for benchmarks/live.py", "interval_s": 1, "binding": "early",
        "devices": {"cpu": {"budget": 8}},
        "variants": {variant: {"accuracy": 1.0, "load_s": 0.05} for variant in latency_s},
        "services": {name: {"variants": list(latency_s), "slo_s": 1.0}},
        "candidates": candidates, "initial": loaded, "workload": {name: {"trace": "twitter-like", "mean_rps": 10}},
        "latency_s": latency_s, **more}


class Cluster:
    """A live cluster in a process of its own.

    Args:
        folder: for its files.
        what: a scenario of ours, or the name of a built-in one.
        models: what runs for its variants; None: replicas are emulated.
        options: of `tidal serve`.
        program: a module of Python and what stands before the options.
        environment: beside ours.

    Attributes:
        port: of the gateway.
        control, gateway: URLs.
        file: of the scenario, or its name.
    """

    def __init__(self, folder: Path, what: dict[str, Any] | str, models: Mapping[str, str] | None = None, *options: str,
                 program: tuple[str, ...] = ("runtime", "serve"), environment: Mapping[str, str] | None = None) -> None:
        self.file = what if isinstance(what, str) else str(_written(folder, dict(what)))
        command = [*program, "--scenario", self.file, "--gateway", "127.0.0.1:0", "--control", "127.0.0.1:0"]
        command += options
        if models is not None:
            (folder / "models.yaml").write_text(yaml.safe_dump({"variants": dict(models)}))
            command += ["--models", str(folder / "models.yaml")]
        self.server = Server(*command, environment=environment)
        try:
            found = self.server.waits_for(r"requests (http://\S+?:(\d+)), control (\S+)")
            self.gateway, self.port, self.control = found[1], int(found[2]), found[3]
            self.settle()
        except BaseException:
            self.server.end()
            raise

    def settle(self) -> None:
        """Wait until all that is wanted is ready, and nothing else is left.

        Raises:
            RuntimeError: it is not, for a minute.
        """
        until_s = time.monotonic() + PATIENCE_S
        while not self._ask("replicas")["settled"]:
            if time.monotonic() > until_s:
                raise RuntimeError("the cluster does not settle:\n" + "".join(self.server.lines[-20:]))
            time.sleep(LOOK_S)

    def want(self, counts: Mapping[int, int], candidates: list[dict[str, Any]]) -> None:
        """Change the deployment: so many replicas of each candidate."""
        kinds = [{"variants": c["variants"], "batch": c.get("batch", 1), "max_wait_s": c.get("max_wait_s", 0.0),
                  "shape": {"cores": c["cores"][0], "inter_op": 1, "intra_op": 1, "device": "cpu"}} for c in candidates]
        replicas: list[Any] = [{"kind": kinds[i], "count": n} for i, n in counts.items() if n]
        answer = requests.put(f"{self.control}/v1/deployment", headers={"If-Match": f'"{self.version()}"'}, timeout=PATIENCE_S,
                              json={"deployment": {"replicas": replicas, "routes": [], "thresholds": []}, "decision_id": ""})
        answer.raise_for_status()

    def version(self) -> int:
        """Of the deployment that is wanted."""
        return int(self._ask("deployment")["version"])

    def events(self) -> list[dict[str, Any]]:
        """What has happened, oldest first."""
        found: list[dict[str, Any]] = []
        while more := self._ask(f"events?after={found[-1]['number'] if found else 0}")["events"]:
            found += more
        return found

    def fates(self) -> dict[str, int]:
        """Settled requests by fate."""
        text, found = requests.get(f"{self.gateway}/metrics", timeout=PATIENCE_S).text, dict[str, int]()
        for line in text.splitlines():
            if line.startswith("tidal_requests_settled_total{"):
                fate = line.partition('fate="')[2].partition('"')[0]
                found[fate] = found.get(fate, 0) + int(float(line.rpartition(" ")[2]))
        return found

    def _ask(self, what: str) -> Any:
        return requests.get(f"{self.control}/v1/{what}", timeout=PATIENCE_S).json()


@contextlib.contextmanager
def cluster(what: dict[str, Any] | str, models: Mapping[str, str] | None = None, *options: str,
            environment: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """A cluster that is ready, and is ended afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        made = Cluster(Path(folder), what, models, *options, environment=environment)
        try:
            yield made
        finally:
            made.server.end()


def _written(folder: Path, what: dict[str, Any]) -> Path:
    """The scenario as files."""
    rows = [f"{variant},cpu,,1,1,{batch},0,{seconds}" for variant, table in what.pop("latency_s").items()
            for batch, seconds in table.items()]
    (folder / "profile.csv").write_text("\n".join(["variant,device,cores,inter_op,intra_op,batch,stage,latency_s", *rows]))
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump({**what, "profile": "profile.csv"}, sort_keys=False))
    return path
