"""How fast the simulator is: requests per second of one core, beside plain C++ loops, simpy and ciw on the same requests.

    python benchmarks/simulator.py [--json FILE] [--requests N] [--repeats N] [--hours H]

- V1, V2, V3: 8 replicas, one queue, gamma arrivals (CV 2), a batch of b takes 10 ms + 2 ms b with 10 % of noise, requests of
  100 ms are given up. V1: no batches, 560 req/s. V2: batches up to 8 at once, 1800 req/s. V3: a batch is full or waits 5 ms.
- A to D: AlpaServe's placements of BERT-1.3B, replayed. The target is what its own simulator was measured to do.
- Chains and variants: the whole simulated cluster, interval by interval, while replicas load, drain and break.

Before anything is timed, all that play the same requests must agree: replay, event kernel and C++ to the last bit.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numba
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.peers.cpp import FLAGS, Loops, compile_loops
from benchmarks.rows import Row, alternate, command_line, report, row, speed
from benchmarks.simulator_cases import (
    BATCHED,
    BERT_S,
    DROP_AFTER_S,
    PLACEMENTS,
    QUEUES,
    SEED,
    SERVERS,
    SLO_SCALE,
    UNBATCHED,
    Placement,
    Queue,
    chain_cluster,
    tables,
    variants_cluster,
)
from envs import state as st
from envs.cluster import SimulatedCluster
from envs.contract import Deployment
from envs.kernel import Flags, specialise
from envs.model import compile_model, kernel_flags, new_state
from envs.randomness import SERVICE, draw, factor, gamma_table, key
from envs.replay import replay_groups, replay_queue
from envs.state import Size, State
from traces.alpaserve import split_rate, workload

njit: Any = numba.njit
PER_S = "requests/s"
CPP_HOW = f"the replay's loop, g++ {' '.join(FLAGS[:3])}"


# ---- V1, V2, V3: one queue that does not change


@njit(cache=True)
def draw_factors(key_, table, out):
    """The service-time factor of every request, as the event kernel draws it."""
    for i in range(out.shape[0]):
        out[i] = factor(table, draw(key_, i, 0))


class EventQueue:
    """A queue in the event kernel, on arrivals drawn beforehand."""

    def __init__(self, queue: Queue, arrival_s: np.ndarray, *, check: bool = False) -> None:
        self._arrival_s = arrival_s[None]
        scenario = queue.scenario
        self._model = compile_model(scenario, scenario.kinds)
        flags = kernel_flags(scenario, scenario.kinds, record=check)
        if check:  # one compilation that plays all cases, and writes down every fate
            flags = flags._replace(BATCHING=True, WAIT=True)
        self._kernel = specialise(flags)
        self._fresh = self._start(flags, len(arrival_s) + 1 if check else 1)

    def _start(self, flags: Flags, records: int) -> State:
        # Nobody waits much longer than 100 ms: room for the arrivals of 2 seconds.
        state = new_state(self._model, flags, SEED, Size(SERVERS, 1 << 12, records))
        state.kind_wanted[0] = state.kind_next_wanted[0] = SERVERS
        for _ in range(SERVERS):
            self._kernel.start_ready(self._model, state, 0, 0.0)
        return state

    def play(self) -> State:
        """Plays all arrivals from the start."""
        state = State(*(array.copy() for array in self._fresh))
        counts = np.array([self._arrival_s.shape[1]])
        self._kernel.run(self._model, state, self._arrival_s, counts, np.zeros(1, np.int64), np.inf)
        return state

    def latencies_s(self) -> np.ndarray:
        """(n,) latency of each answer, nan where there was none (only with `check`)."""
        state = self.play()
        out = np.full(self._arrival_s.shape[1], np.nan)
        n = int(state.whole[st.RECORDED])
        number, fate = state.record_i[:n, 1], state.record_i[:n, 2]
        answered = (fate == st.GOOD) | (fate == st.LATE)
        out[number[answered]] = state.record_f[:n][answered] - self._arrival_s[0, number[answered]]
        return out


def queue_rows(queue: Queue, requests: int, repeats: int, loops: Loops | None) -> Iterator[Row]:
    """One of V1 to V3: first everybody's latencies, then their speeds."""
    arrival_s = np.cumsum(np.random.default_rng(0).gamma(1 / 4, 4 / queue.rate_rps, requests))
    factors = np.empty(requests)
    draw_factors(np.uint64(key(SEED, SERVICE, 0)), gamma_table(0.1), factors)
    latency_s, rest = queue.latency_s, (SERVERS, queue.max_wait_s, DROP_AFTER_S)
    few, fewer = max(requests // 50, 100), max(requests // 200, 100)
    event_queue = EventQueue(queue, arrival_s)
    players: dict[str, tuple[int, float, Callable[[int], np.ndarray]]] = {  # requests, tolerance in seconds, play
        "event kernel": (requests, 0.0, lambda n: EventQueue(queue, arrival_s[:n], check=True).latencies_s()),
    }
    if loops:
        play_loop = loops.replay_queue
        players["C++ loop"] = requests, 0.0, lambda n: filled(play_loop, arrival_s[:n], latency_s, factors[:n], *rest)
    if importlib.util.find_spec("simpy"):
        from benchmarks.peers import with_simpy

        players["simpy"] = few, 1e-9, lambda n: with_simpy.play(arrival_s[:n], latency_s, factors[:n], *rest)
    if importlib.util.find_spec("ciw") and queue.batch == 1:
        from benchmarks.peers import with_ciw

        players["ciw"] = fewer, 1e-9, lambda n: with_ciw.play(arrival_s[:n], latency_s, factors[:n], SERVERS, DROP_AFTER_S)
    for name, (n, tolerance_s, play) in players.items():
        ours = filled(replay_queue, arrival_s[:n], latency_s, factors[:n], *rest)
        yield agreement(f"{queue.name}, {name}", ours, play(n), tolerance_s)

    out_s = np.empty(requests)
    works: dict[str, Callable[[], int]] = {
        "replay": lambda: replay_queue(arrival_s, latency_s, factors, *rest, out_s) and requests,
        "event kernel": lambda: int(event_queue.play().app_count[0, st.OFFERED]),
    }
    if loops:
        works["C++ loop"] = lambda: play_loop(arrival_s, latency_s, factors, *rest, out_s) and requests
    for name in ("simpy", "ciw"):
        if name in players:
            n, _, play = players[name]
            works[name] = lambda n=n, play=play: len(play(n))  # type: ignore[misc]
    hows = {
        "replay": "arrivals and noise drawn beforehand",
        "event kernel": "noise drawn, and fates and latencies counted, inside",
        "C++ loop": CPP_HOW,
        "simpy": "with building the model",
        "ciw": "with building the model",
    }
    timings = alternate(works, repeats)
    peers = {"replay": "C++ loop", "event kernel": "simpy"}
    for name, timing in timings.items():
        peer = peers.get(name, "")
        yield speed(
            f"{queue.name}, {name}",
            timing,
            PER_S,
            hows[name],
            target=queue.target if name == "replay" else None,
            peer=timings.get(peer),
            peer_name=peer,
        )


def filled(play: Callable[..., int], *arguments: Any) -> np.ndarray:
    """The latencies that a replay writes."""
    out_s = np.empty(len(arguments[0]))
    play(*arguments, out_s)
    return out_s


def agreement(figure: str, ours_s: np.ndarray, theirs_s: np.ndarray, tolerance_s: float) -> Row:
    """A row that tells how far two simulators are apart on the same requests.

    Raises:
        RuntimeError: they do not answer the same requests.
    """
    if not np.array_equal(np.isnan(ours_s), np.isnan(theirs_s)):
        apart = int((np.isnan(ours_s) != np.isnan(theirs_s)).sum())
        raise RuntimeError(f"{figure}: {apart} of {len(ours_s)} requests are answered by it or by the replay, but not by both")
    served = ~np.isnan(ours_s)
    largest_s = float(np.abs(ours_s - theirs_s)[served].max(initial=0.0))
    how = f"largest difference of a latency; both serve {served.mean():.4%} of {len(served):,} requests"
    return row(f"{figure}, off the replay by", largest_s, "s", how, target=tolerance_s)


# ---- A to D: placements of AlpaServe that do not change


def placement_rows(placement: Placement, shrink: float, repeats: int, loops: Loops | None) -> Iterator[Row]:
    """One of A to D."""
    rates_rps = split_rate(placement.rate_rps, placement.models)
    requests = workload(rates_rps, placement.cv, placement.duration_s * shrink)
    arrival_s, model, n = requests["arrival_s"].to_numpy(), requests["model"].to_numpy(np.int64), len(requests)
    replay: Callable[..., int] = replay_groups
    ours_s, out_s = filled(replay, arrival_s, model, *tables(placement)), np.empty(n)
    if loops:
        theirs_s = filled(loops.replay_groups, arrival_s, model, *tables(placement))
        yield agreement(f"{placement.name}, C++ loop", ours_s, theirs_s, 0.0)
    yield row(
        f"{placement.name}, goodput",
        float((ours_s <= SLO_SCALE * BERT_S).mean()),
        "ratio",
        f"of {n:,} requests; peer AlpaServe",
        peer=placement.goodput if shrink == 1 else None,
    )
    offered = np.bincount(model, minlength=placement.models)
    built = tables(placement)[:-1]

    def clock() -> np.ndarray:
        return np.zeros((len(placement.groups), placement.stages))

    def planner_step() -> int:
        """What a planner does for each placement that it looks at: tables, replay, goodput of each model."""
        replay(arrival_s, model, *tables(placement), out_s)
        np.bincount(model[out_s == out_s], minlength=placement.models) / offered
        return n

    works: dict[str, Callable[[], int]] = {"replay": lambda: replay(arrival_s, model, *built, clock(), out_s) and n}
    if loops:
        play_loop: Callable[..., int] = loops.replay_groups
        works["C++ loop"] = lambda: play_loop(arrival_s, model, *built, clock(), out_s) and n
    works["replay for a planner"] = planner_step
    timings = alternate(works, 5 * repeats)
    loop = timings.get("C++ loop")
    theirs = "; target: AlpaServe's own replay, as measured on another machine"
    yield speed(
        f"{placement.name}, replay",
        timings["replay"],
        PER_S,
        "tables built beforehand" + theirs,
        target=placement.target,
        peer=loop,
        peer_name="C++ loop",
    )
    yield speed(
        f"{placement.name}, replay for a planner",
        timings["replay for a planner"],
        PER_S,
        "with tables, and goodput of each model" + theirs,
        target=placement.target,
    )
    if loop:
        yield speed(f"{placement.name}, C++ loop", loop, PER_S, CPP_HOW)


# ---- The whole simulated cluster, while it changes

EVENT_TARGET = 10e6
ALPASERVE_EVENTS = 2.7e3  # requests/s of its event-driven simulator


def advance(cluster: SimulatedCluster, deployments: Iterator[Deployment], intervals: int) -> int:
    """Plays intervals, each with the next deployment, and returns how many requests arrived."""
    before = cluster.totals().app_count[:, st.OFFERED].sum()
    for deployment in islice(deployments, intervals):
        cluster.apply(deployment)
        cluster.advance()
    return int(cluster.totals().app_count[:, st.OFFERED].sum() - before)


def cluster_row(
    figure: str,
    cluster: SimulatedCluster,
    deployments: Sequence[Deployment],
    intervals: int,
    repeats: int,
    how: str,
    target: float | None = None,
    peer: float | None = None,
) -> Row:
    """Speed of a cluster that is advanced through deployments again and again; observations are part of it."""
    turn = cycle(deployments)
    advance(cluster, turn, len(deployments))
    before, created = cluster.totals(), int(cluster.state.whole[st.NEXT_ID])
    timing = alternate({figure: lambda: advance(cluster, turn, intervals)}, repeats)[figure]
    fates = (cluster.totals().app_count - before.app_count).sum(0)
    visits = (cluster.totals().service_offered - before.service_offered).sum() / fates[st.OFFERED]
    made = int(cluster.state.whole[st.NEXT_ID]) - created
    how += (
        f", {made} replicas made; {visits:.2f} stage visits a request, {fates[st.GOOD] / fates[st.OFFERED]:.2%} good; "
        f"{float(np.median(timing.cpu_s)) / intervals * 1e3:.2g} ms of CPU an interval"
    )
    return speed(figure, timing, PER_S, how, target=target, peer=peer)


def change_rows(shrink: float, repeats: int) -> Iterator[Row]:
    """Chains while replicas load, drain and break, and variants with routes."""
    for name, batch, counts in (("batches of 8", 8, BATCHED), ("no batches", 1, UNBATCHED)):
        cluster, deployments = chain_cluster(batch, counts)
        yield cluster_row(
            f"Chain of two, {name}",
            cluster,
            deployments,
            max(int(100 * shrink), 2),
            repeats,
            "deployments change every 10 s, replicas break after 5 minutes, peer AlpaServe's event mode",
            EVENT_TARGET,
            ALPASERVE_EVENTS,
        )
    cluster, deployments = variants_cluster()
    yield cluster_row(
        "Variants with routes",
        cluster,
        deployments,
        max(int(100 * shrink), 2),
        repeats,
        "resnet-variants, early binding, one to three ResNets on 20 cores, changed every 30 s",
    )


def memory_rows(hours: float) -> Iterator[Row]:
    """Memory after a tenth of the time, and how much it has grown at the end."""
    cluster, deployments = chain_cluster(8, BATCHED)
    turn, intervals = cycle(deployments), max(int(hours * 360), 20)
    done = advance(cluster, turn, intervals // 10)
    first = resident_bytes(), state_bytes(cluster)
    done += advance(cluster, turn, intervals - intervals // 10)
    how = f"from {hours / 10:g} to {hours:g} simulated hours, {done:,} requests"
    last = resident_bytes(), state_bytes(cluster)
    for name, before, after, allowed in zip(("process", "state"), first, last, (2.0**20, 0.0)):
        yield row(f"Memory of the {name}", before, "B", f"after {hours / 10:g} simulated hours")
        yield row(f"Memory of the {name}, grown by", after - before, "B", how, target=allowed)


def state_bytes(cluster: SimulatedCluster) -> int:
    """Size of a cluster's arrays."""
    return sum(array.nbytes for array in cluster.state)


def resident_bytes() -> int:
    """Memory that the process holds now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(requests: int, repeats: int, hours: float) -> Iterator[Row]:
    """All rows.

    Args:
        requests: of each of V1 to V3; the other cases shrink with it below a million.
        repeats: measured rounds of each comparison.
        hours: simulated time of the memory's rows.
    """
    loops = compile_loops()
    if loops is None:
        print("no g++ here: the rows of the C++ loops are left out", file=sys.stderr)
    for name in ("simpy", "ciw"):
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed (extra `bench`): its rows are left out", file=sys.stderr)
    yield compile_row()
    shrink = min(requests / 1e6, 1.0)
    for queue in QUEUES:
        yield from queue_rows(queue, requests, repeats, loops)
    for placement in PLACEMENTS:
        yield from placement_rows(placement, shrink, repeats, loops)
    yield from change_rows(shrink, repeats)
    yield from memory_rows(hours)


def compile_row() -> Row:
    """Makes everything compile, so that nothing is timed with it."""
    began = time.perf_counter()
    for queue in QUEUES:
        for check in (False, True):
            EventQueue(queue, np.zeros(1), check=check).play()
    for cluster, deployments in (chain_cluster(8, BATCHED), chain_cluster(1, UNBATCHED), variants_cluster()):
        advance(cluster, cycle(deployments), len(deployments))
    return row("Compiling, or loading what was compiled", time.perf_counter() - began, "s", "wall time, seven event kernels")


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = command_line("requests per second of the simulator, beside C++, simpy and ciw")
    parser.add_argument("--requests", type=int, default=1_000_000, help="requests of a repeat (default 1,000,000)")
    parser.add_argument("--repeats", type=int, default=9, help="measured rounds (default 9)")
    parser.add_argument("--hours", type=float, default=10.0, help="simulated hours of the memory's rows (default 10)")
    options = parser.parse_args()
    report(measure(options.requests, options.repeats, options.hours), options.json)


if __name__ == "__main__":
    main()
