"""How late emulated replicas answer, and what they cost: many in one process, and a queue of batches on one.

    python benchmarks/emulated.py [--json FILE] [--seconds N]
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.rows import Row, command_line, report, row
from envs.contract import ReplicaKind, Shape
from envs.scenario import Scenario
from envs.scenario_file import load as load_scenario
from runtime.models.dilated_clock import DilatedClock
from runtime.models.emulated import EmulatedReplica
from runtime.models.server_clocks import Head

REPLICAS, UTILISATION = 64, 0.6
BATCHES = 50
VARIANT = "resnet18"
KIND = ReplicaKind((VARIANT,), Shape(cores=1))


def problem() -> tuple[Scenario, str]:
    """`resnet-variants` without load times, and the name of its application."""
    scenario = load_scenario("resnet-variants")
    variants = {name: variant.model_copy(update={"load_s": 0.0}) for name, variant in scenario.variants.items()}
    return scenario.with_(variants=variants), next(iter(scenario.applications))


async def many(seconds: float) -> tuple[np.ndarray, float, float]:
    """Poisson arrivals at many replicas of one core: lateness (s) of each answer, CPU and wall seconds."""
    scenario, application = problem()
    clock, late_s = DilatedClock(), []
    rate_rps = UTILISATION / scenario.profile.latency_s(VARIANT, KIND.shape, 1)[0]

    async def request(replica: EmulatedReplica, number: int) -> None:
        held = await replica.run(VARIANT, 1, Head(application, number))
        late_s.append(clock.now_s() - held.finish_s)

    async def client(i: int) -> None:
        dice = np.random.default_rng(i)
        replica = EmulatedReplica(scenario, KIND, number=i, seed=0, clock=clock)
        await replica.load()
        t_s, number, requests = clock.now_s(), i, []
        end_s = t_s + seconds
        while (t_s := t_s + float(dice.exponential(1 / rate_rps))) < end_s:
            await clock.sleep_until(t_s)
            requests.append(asyncio.ensure_future(request(replica, number)))
            number += REPLICAS
        await asyncio.gather(*requests)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client(i) for i in range(REPLICAS)))
    return np.array(late_s), time.process_time() - cpu, time.perf_counter() - wall


async def queue(kept_by_replica: bool) -> float:
    """How much longer a queue of batches takes than it should, seconds; kept by the replica, or handed over batch by batch."""
    scenario, application = problem()
    clock = DilatedClock()
    replica = EmulatedReplica(scenario, KIND, number=0, seed=0, clock=clock)
    await replica.load()
    begun_s, wanted_s = clock.now_s(), 0.0
    runs = (replica.run(VARIANT, 1, Head(application, i)) for i in range(BATCHES))
    for held in await asyncio.gather(*runs) if kept_by_replica else [await run for run in runs]:
        wanted_s += held.finish_s - held.start_s
    return clock.now_s() - begun_s - wanted_s


def measure(seconds: float) -> Iterator[Row]:
    """All rows."""
    late_s, cpu_s, wall_s = asyncio.run(many(seconds))
    how = f"{REPLICAS} replicas of one core at {UTILISATION:.0%}, {len(late_s) / wall_s:.0f} requests/s for {wall_s:.0f} s"
    for name, value in (("median", np.median(late_s)), ("99 %", np.quantile(late_s, 0.99)), ("worst", late_s.max())):
        yield row(f"lateness of answers, {name}", float(value), "s", how)
    yield row("CPU time of a request", cpu_s / len(late_s), "s", how)
    for kept, words in ((True, "kept by the replica"), (False, "handed over one by one")):
        how = f"{BATCHES} batches of {VARIANT} on one core, {words}"
        yield row(f"lateness of a queue's last answer, {words}", asyncio.run(queue(kept)), "s", how)


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = command_line("lateness and cost of emulated replicas")
    parser.add_argument("--seconds", type=float, default=10.0, help="of load on many replicas (%(default)s)")
    arguments = parser.parse_args()
    report(measure(arguments.seconds), arguments.json)


if __name__ == "__main__":
    main()
