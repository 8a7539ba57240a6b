"""CascadeServe's claim: at equal accuracy and latency two to three times cheaper than single models and sets of them.

Its authors publish no certainty curves, so the models are those of scenario `cascade`, which are made: an hour of
Twitter-like load, a mean of 60 req/s. For each accuracy that a cascade on the front of cost and accuracy has: CascadeServe's
gears of at least that; the cheapest single model that has it; and InfAdapter's sets of models, their cost at that accuracy on
the straight lines between what it reaches at a row of weights. All plan for the last load x 1.1 on capacities x 0.8, and hold
three times. Accuracy is that of the requests answered in time.

The authors place models on their hardware once: at a peak the gear gets cheaper and less accurate, and what counts is the mean
accuracy. What that is worth is worked out beside it, from the rates of a day (no queues, cores for any model), and not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from baselines.cascadeserve import CascadeServe
from baselines.cascadeserve_plan import cascades_of, pareto
from baselines.infadapter import InfAdapter
from envs.contract import Policy
from envs.episode import run_episode
from envs.scenario import InitialReplica, Scenario
from envs.scenario_file import load as load_scenario
from reports.reproductions.reproduction import Reproduction, Row
from traces.workload import Workload
from traces.workload import open as open_workload

SCENARIO, APPLICATION, FIRST = "cascade", "cascade", "first"
TRACE, MEAN_RPS, LENGTH_S, TRACE_SEED, SEEDS = "twitter-like", 60.0, 3600.0, 1000, 3
WEIGHTS = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.8, 1.5, 5.0)  # of cost
CLAIM, NEAR = 2.5, 0.5  # "two to three times"
DAY_S, STEP_S, USED, MARGIN, MOST_CORES = 86_400.0, 10, 0.8, 1.1, 1000  # of what is worked out on fixed cores
FIXED = "On fixed cores, a day of this load (worked out, not played)"


class Outcome(NamedTuple):
    """Means over the seeds: cores, accuracy of answers in time, violations in per cent, P99 in s."""

    cores: float
    accuracy: float
    violations: float
    p99_s: float


def rows() -> Iterator[Row]:
    """One table for each accuracy."""
    scenario = load_scenario(SCENARIO)
    singles = {name: _single(scenario, (name,)) for name in scenario.services[FIRST].variants}
    alone = {name: _play(one, FIRST, _infadapter()) for name, one in singles.items()}
    sets = _single(scenario, tuple(singles))
    mixed = [_play(sets.with_(weights=sets.weights.model_copy(update={"cost": w})), FIRST, _infadapter()) for w in WEIGHTS]
    for cascade in (c for c in pareto(cascades_of(scenario, APPLICATION)) if len(c.places) > 1):
        least = cascade.accuracy
        table = f"Accuracy of {100 * least:.1f} % or more"
        ours = _play(scenario, APPLICATION, CascadeServe(least_accuracy=least - 1e-9, hold=3))
        enough = {name: o for name, o in alone.items() if scenario.variants[name].accuracy >= least}
        name = min(enough, key=lambda n: enough[n].cores)
        yield from _told(table, f"CascadeServe, {' then '.join(p.variant for p in cascade.places)}", ours)
        yield from _told(table, f"single, {name}", enough[name])
        set_cores = _cores_at(mixed, least)
        yield Row(table, "InfAdapter, sets", "cores", set_cores, decimals=2)
        yield Row(table, "single / CascadeServe", "cost", enough[name].cores / ours.cores, CLAIM, NEAR, decimals=2)
        yield Row(table, "InfAdapter / CascadeServe", "cost", set_cores / ours.cores, CLAIM, NEAR, decimals=2)
    yield from _on_fixed_cores(scenario)


def fewest_cores(choices: Sequence[tuple[float, float]], rates_rps: np.ndarray, accuracy: float) -> int | None:
    """The fewest fixed cores with a mean accuracy over all requests; at each rate the most accurate choice that they carry.

    Args:
        choices: (accuracy, core-seconds of a request).
        rates_rps: of the steps; where the cores carry no choice, accuracy is 0.
        accuracy: to be reached.

    Returns:
        None where more than `MOST_CORES` are needed.
    """
    for cores in range(1, MOST_CORES + 1):
        reached = np.zeros(len(rates_rps))
        for gained, seconds in sorted(choices):
            reached[rates_rps * seconds <= USED * cores] = gained
        if np.average(reached, weights=rates_rps) >= accuracy - 1e-9:
            return cores
    return None


def _on_fixed_cores(scenario: Scenario) -> Iterator[Row]:
    """Gears on fixed cores, against switching between single models on fixed cores, and against one model for the peak."""
    rates = open_workload(Workload(TRACE, mean_rps=MEAN_RPS, length_s=DAY_S, seed=TRACE_SEED)).load
    rates_rps = MARGIN * rates.rate_rps.reshape(-1, max(1, round(STEP_S / rates.bin_s))).mean(1)
    gears = pareto(cascades_of(scenario, APPLICATION))
    singles = [(c.accuracy, c.cost) for c in gears if len(c.places) == 1]
    for cascade in (c for c in gears if len(c.places) > 1):
        needed = fewest_cores([(c.accuracy, c.cost) for c in gears], rates_rps, cascade.accuracy)
        switched = fewest_cores(singles, rates_rps, cascade.accuracy)
        peak = rates_rps.max() / USED * min(seconds for gained, seconds in singles if gained >= cascade.accuracy)
        assert needed and switched
        case = f"mean accuracy of {100 * cascade.accuracy:.1f} %"
        yield Row(FIXED, case, "gears", needed, unit="cores", decimals=0)
        yield Row(FIXED, case, "single models, switched / gears", switched / needed, decimals=2)
        yield Row(FIXED, case, "one model, for the peak / gears", peak / needed, decimals=2)


def _single(scenario: Scenario, variants: tuple[str, ...]) -> Scenario:
    """The same models as one service, without a second place."""
    candidates = tuple(c for c in scenario.candidates if c.variants[0] in variants)
    service = scenario.services[FIRST].model_copy(update={"variants": tuple(v for v in scenario.services[FIRST].variants
                                                                            if v in variants)})
    return scenario.with_(services={FIRST: service}, applications={}, candidates=candidates, thresholds={},
                          initial=(InitialReplica(candidate=len(candidates) - 1, level=20),),
                          workload={FIRST: scenario.workload[APPLICATION]})


def _infadapter() -> Policy:
    return InfAdapter(forecast="last", margin=1.1, hold=3, finish_rollout=False)


def _play(scenario: Scenario, application: str, policy: Policy) -> Outcome:
    opened = open_workload(Workload(TRACE, mean_rps=MEAN_RPS, length_s=LENGTH_S, seed=TRACE_SEED))
    found, count = [], round(LENGTH_S / scenario.interval_s)
    for seed in range(SEEDS):
        episode = run_episode(scenario, policy, {application: opened.load}, seed=seed, intervals=count)
        totals = episode.totals
        good = 1 - totals["violation_ratio"]
        found.append((episode.intervals["held_units"].mean(), totals["accuracy"] / good, 100 * (1 - good), totals["p99_s"]))
    return Outcome(*(float(x) for x in np.mean(found, axis=0)))


def _cores_at(mixed: Sequence[Outcome], accuracy: float) -> float:
    """Cores at an accuracy, on the lower hull of what was reached; nan beyond it."""
    points = sorted((o.accuracy, o.cores) for o in mixed)
    lines = [(a, b) for a in points for b in points if a[0] <= accuracy <= b[0]]
    costs = [a[1] if a[0] == b[0] else a[1] + (b[1] - a[1]) * (accuracy - a[0]) / (b[0] - a[0]) for a, b in lines]
    return min(costs, default=float("nan"))


def _told(table: str, case: str, o: Outcome) -> Iterator[Row]:
    yield Row(table, case, "cores", o.cores, decimals=2, note=f"{o.violations:.2f} % violations, P99 {o.p99_s:.2f} s")
    yield Row(table, case, "accuracy", 100 * o.accuracy, unit="%", decimals=2)


def account(found: Sequence[Row]) -> list[str]:
    """What was gained, and what that rests on."""
    against = {what: [float(r.ours) for r in found if r.case == f"{what} / CascadeServe"] for what in ("single", "InfAdapter")}
    told = "; ".join(f"{'a single model' if what == 'single' else 'sets'} {', '.join(f'{x:.2f}' for x in row)} times its cost"
                     for what, row in against.items())
    fixed = {figure: [float(r.ours) for r in found if r.table == FIXED and r.figure.startswith(figure)]
             for figure in ("single", "one")}
    switched, peak = (", ".join(f"{x:.1f}" for x in row) for row in fixed.values())
    return [
        f"By rising accuracy: {told}.",
        f"The authors' hardware is fixed. Worked out for that, by rising mean accuracy: {switched} times cheaper than single "
        f"models that are switched with the load, {peak} times than one model with cores for the peak. So two to three times "
        "is what gears are worth where nothing scales; where replicas follow the load, as here, only the cascade's own gain "
        "is left.",
        "The models are the third that were made for this: on the ResNets, with an accuracy in second place that is not "
        "overstated, no cascade was worth its second model. So this is a property of the models chosen, no evidence for or "
        "against the claim.",
        "The gain rests on the certainty, which is made: one difficulty for each input, and what is passed on is hard for the "
        "larger model too. It cannot exceed c_large / (c_small + passed x c_large), 2.2 where 40 % are passed on at costs of "
        "10 and 200. A factor of three needs models further apart, fewer passed on, or models that err on different inputs.",
    ]


REPRODUCTION = Reproduction(
    title="CascadeServe: cost at equal accuracy and latency, against single models and sets of them",
    source="CascadeServe (Kossmann et al., 2024, arXiv 2406.14424): abstract",
    aim="two to three times cheaper, or an account of why not; models and certainty are made",
    rows=rows,
    account=account,
)
