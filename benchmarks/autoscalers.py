"""Live: Tidal's policies, an HPA rule and Ray Serve's own autoscaler on the same ResNets, the same load, the same two cores.

    python benchmarks/autoscalers.py [--json FILE] [--seconds 60] [--only NAME,...] [--policies NAME,...]

The models compute in full, on small pictures (docs/live_demo.md); they are timed first, and the load's peak follows from that:
0.8 of what two replicas of ResNet-50 compute alone on the machine. Twenty minutes of Twitter pass in a minute, so the times
of the HPA rule and of Ray Serve's autoscaler are a twentieth too; Ray Serve runs as it is installed besides. Those scale one
model, ResNet-50; Tidal's own policies choose between three. The agent, a network over proposals, is trained first, and the
constant deployment chosen, on other stretches of that trace. Rows: violations, the core-seconds that replicas held, what all
processes that serve have computed, and accuracy (as published for the models; drawn weights answer).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import requests
import uvloop

from baselines.hpa import HPA
from benchmarks.measure_live.processes import Server
from benchmarks.peers.with_ray_serve import environment
from benchmarks.rows import Row, command_line, report, row
from envs.loads import open_loads
from runtime.demo import problem, timings, tuning
from runtime.demo.load import SPEED
from runtime.load_generator import Played, play
from traces.samplers import draw

ONE = "resnet50"  # what those scale that know one model
POLICIES = ("infadapter-fast",)
LOOK_S = 0.5


class Rule(HPA):
    """Kubernetes' HPA on the utilisation of one ResNet, its window as much shorter as time is faster."""

    def __init__(self) -> None:
        super().__init__(ONE, window_s=300 / SPEED)


@dataclass(frozen=True)
class Serving:
    """Something that serves.

    Attributes:
        url: of its gateway.
        servers: its processes.
        held: how many cores replicas hold now.
    """

    url: str
    servers: list[Server]
    held: Callable[[], int]


@dataclass(frozen=True)
class Outcome:
    """What became of one run: the clients' side, core-seconds held by replicas, and computed by all that serves."""

    played: Played
    held_s: float
    computed_s: float


def trained(written: problem.Written, folder: Path) -> str:
    """An agent for just this scenario, a folder: learnt in a quarter of a minute on stretches of load that are not played."""
    load = folder / "stretches.csv"
    rates_rps = np.concatenate(written.others)
    load.write_text("t_s,requests\n" + "".join(f"{t},{float(rate)}\n" for t, rate in enumerate(rates_rps)), encoding="utf-8")
    agent = folder / "agent"
    subprocess.run(
        [sys.executable, str(Path(__file__).resolve().parents[1] / "train.py"), "--scenario", str(written.path),
         "--agent", "proposals", "--trace", str(load), "--steps", "400000", "--evaluate-every", "50000",
         "--set", "windows=192", "--export", str(agent)],
        cwd=folder, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return str(agent)


def best_constant(written: problem.Written, folder: Path) -> str:
    """The constant deployment that is best on those stretches, as a folder."""
    settings = tuning.tune(written.scenario, written.others)
    return str(tuning.write_policy(folder / "constant", written.scenario, tuning.CONSTANT, settings, written.load))


@contextlib.contextmanager
def tidal(written: problem.Written, policy: str, folder: Path) -> Iterator[Serving]:
    """`tidal serve` with worker processes, and `tidal autoscale`."""
    serve = Server("runtime", "serve", "--scenario", str(written.path), "--models", str(written.models),
                   "--gateway", "127.0.0.1:0", "--control", "127.0.0.1:0")
    servers = [serve]
    try:
        gateway, control = serve.waits_for(r"requests (\S+), control (\S+)").groups()
        servers.append(Server("runtime", "autoscale", "--scenario", str(written.path), "--policy", policy,
                              "--source", "scrape", "--url", f"{gateway}/metrics",
                              "--actuator", "cluster", "--control", control, "--journal", str(folder / "journal")))
        servers[1].waits_for(r"every \S+ s, act")

        def held() -> int:
            there = requests.get(f"{control}/v1/replicas", timeout=5).json()["replicas"]
            return sum(replica["kind"]["shape"]["cores"] for replica in there)

        yield Serving(gateway, servers, held)
    finally:
        for server in reversed(servers):
            server.end()


@contextlib.contextmanager
def ray_serve(faster: float, folder: Path) -> Iterator[Serving]:
    """Ray Serve with its own autoscaler."""
    server = Server("benchmarks.peers.ray_serve_resnets", str(folder), "--model", problem.MODELS[ONE], "--name", ONE,
                    "--replicas", str(problem.CORES), "--faster", str(faster),
                    environment=environment("as installed", str(folder)))
    try:
        port = server.waits_for(r"ray serve: port (\d+)").group(1)

        def held() -> int:
            return next((int(line.split()[1]) for line in reversed(server.lines) if line.startswith("replicas")), 1)

        yield Serving(f"http://127.0.0.1:{port}", [server], held)
    finally:
        server.end()


def run(serving: Serving, due_s: np.ndarray) -> Outcome:
    """Plays the load, and watches."""
    stop, held = threading.Event(), []
    cpu_s: dict[tuple[int, int], float] = {}  # by process; those that end on the way keep what was seen last

    def look() -> None:
        for server in serving.servers:
            cpu_s.update(server.each_cpu_s())

    def watch() -> None:
        while not stop.wait(LOOK_S):
            look()
            with contextlib.suppress(requests.RequestException):
                held.append(serving.held())

    watching = threading.Thread(target=watch)
    look()
    before_s = sum(cpu_s.values())
    watching.start()
    try:
        played = uvloop.run(play(serving.url, problem.SERVICE, due_s))
    finally:
        stop.set()
        watching.join()
    look()
    return Outcome(played, float(np.mean(held)) * float(due_s[-1]), sum(cpu_s.values()) - before_s)


def rows(seconds: int, only: set[str], policies: tuple[str, ...]) -> Iterator[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory() as folder:
        written = problem.write(Path(folder), timings.measure(problem.MODELS, problem.CORES), seconds)
        loads = open_loads(written.scenario, None, "val", seconds)
        due_s = draw(loads.loads[problem.SERVICE], 0, 0.0, seconds)
        contenders = {
            "Tidal, agent": partial(tidal, written, trained(written, Path(folder))),
            "Tidal, constant": partial(tidal, written, best_constant(written, Path(folder))),
            **{f"Tidal, {name}": partial(tidal, written, name) for name in policies},
            "Tidal, HPA rule": partial(tidal, written, "benchmarks.autoscalers:Rule"),
            "Ray Serve, as installed": partial(ray_serve, 1.0),
            f"Ray Serve, its times / {SPEED}": partial(ray_serve, SPEED),
        }
        for number, (name, serving) in enumerate(contenders.items()):
            if not only or name in only:
                yield from measured(name, serving(Path(folder) / f"{number}"), due_s, written)


def measured(name: str, serving: contextlib.AbstractContextManager[Serving], due_s: np.ndarray,
             written: problem.Written) -> Iterator[Row]:
    """The rows of one contender."""
    with serving as one:
        found = run(one, due_s)
    played, slo_s = found.played, written.scenario.services[problem.SERVICE].slo_s
    good = (played.status == 200) & (played.done_s - played.due_s <= slo_s)
    accuracy = sum(problem.ACCURACY[v] for v, fine in zip(played.variant, good) if fine) / len(good)
    p99_s = float(np.quantile(played.latency_s, 0.99)) if played.latency_s.size else float("nan")
    how = (f"{len(due_s)} requests, SLO {1e3 * slo_s:.0f} ms; p99 {1e3 * p99_s:.0f} ms; answered by "
           f"{', '.join(f'{v} {n}' for v, n in played.served_by.most_common())}; {100 * played.late_share:.1f} % sent late; "
           f"{written.load}")
    yield row(f"{name}: violations", 100 * float(1 - good.mean()), "%", how)
    yield row(f"{name}: cores held by replicas", found.held_s, "core-s", "each half second, pending and draining ones too")
    yield row(f"{name}: computed by all that serves", found.computed_s, "core-s", "from /proc, the clients not counted")
    yield row(f"{name}: accuracy", 100 * accuracy, "%", "of answers within the SLO, over all requests")


if __name__ == "__main__":
    parser = command_line(__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="of load for each (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="NAME;...", help="some of them, by the names in the rows")
    parser.add_argument("--policies", default=",".join(POLICIES), metavar="NAME,...", help="Tidal's (default: %(default)s)")
    options = parser.parse_args()
    only = {name for name in options.only.split(";") if name}
    report(rows(options.seconds, only, tuple(options.policies.split(","))), options.json)
