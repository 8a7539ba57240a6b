"""InfAdapter's exact decisions, load by load, and where a set of variants beats the best single one (Model-Switching+).

"Theirs" is the exact optimum of the paper's program with the profiles and the capacity rule of the published artefact, found
by other means than ours (its brute force, run as published, and a mixed-integer solver): 20 cores, weight of change 0.001, SLO
750 ms, before each decision ResNet152 on all 20 cores.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from baselines.infadapter import CAPACITY_RATIO
from baselines.infadapter_ilp import Choices, Plan, solve
from baselines.infadapter_tables import Host, choices_of, hosts_of, regressed_capacity_rps, replicas_at
from baselines.model_switching_plus import best_single
from envs.scenario_file import load as load_scenario
from reports.reproductions.reproduction import Reproduction, Row

SCENARIO, SERVICE, BEFORE, CORES = "resnet-variants", "classify", "resnet152", 20
OBJECTIVE_WITHIN, GAIN_WITHIN = 1e-6, 6e-5  # published to 6 decimals, and to 4

# load (req/s): cores of each variant, objective, the choice of Model-Switching+ (and its objective where published)
DECISIONS = {
    5: ("152:3", 0.774620, "152:3", None),
    20: ("152:8", 0.762120, "152:8", None),
    30: ("152:11", 0.754620, "152:11", None),
    43: ("50:6", 0.745500, "50:6", None),
    75: ("50:10", 0.735500, "50:10", None),
    100: ("50:13", 0.728000, "50:13", None),
    150: ("50:19", 0.713000, "50:19", None),
    175: ("18:2+50:18", 0.699940, "34:17", 0.689843),
    200: ("18:4+50:16", 0.687879, "34:20", 0.682343),
    250: ("18:8+34:2+50:10", 0.670015, "18:14", 0.661824),
    300: ("18:13+50:7", 0.658462, "18:16", 0.656824),
    350: ("18:17+34:3", 0.649831, "18:19", None),
    380: ("18:20", 0.646824, "18:20", None),
    390: ("infeasible", math.nan, "", None),
}
LOADS_RPS = (43, 54, 75, 100, 130, 150, 175, 200, 250, 300, 350)
# weight of cost: (variants in the optimum, by how much its objective beats the best single variant's) for each of these loads
GAINS = {
    0.001: ((1, 0.0008), (1, 0.0010), (3, 0.0013), (2, 0.0066), (2, 0.0024), (2, 0.0005), (2, 0.0174), (2, 0.0055),
            (3, 0.0229), (2, 0.0114), (2, 0.0030)),
    0.0125: ((1, 0), (1, 0.0004), (3, 0.0008), (2, 0.0026), (2, 0.0007), (1, 0), (2, 0.0157), (2, 0.0055), (3, 0.0194),
             (2, 0.0091), (2, 0.0024)),
    0.05: ((1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (2, 0.0101), (2, 0.0055), (3, 0.0082), (2, 0.0016), (2, 0.0005)),
    0.2: ((1, 0), (1, 0), (2, 0.0025), (2, 0.0006), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0)),
}


def rows() -> Iterator[Row]:
    """Both tables."""
    scenario = load_scenario(SCENARIO)
    hosts = hosts_of(scenario, SERVICE)
    capacity_rps = partial(regressed_capacity_rps, scenario)
    choices = choices_of(scenario, hosts, lambda kind, variant: math.floor(CAPACITY_RATIO * capacity_rps(kind, variant)))
    before = [candidate.levels - 1 if variant == BEFORE else 0 for candidate, variant in hosts]
    yield from _decisions(choices, hosts, before)
    for w_cost, published in GAINS.items():
        yield from _gains(replace(choices, w_cost=w_cost), before, published)


def _decisions(choices: Choices, hosts: list[Host], before: list[int]) -> Iterator[Row]:
    table = f"Decisions, weight of cost {choices.w_cost:g}"
    for load_rps, (cores, objective, single, single_objective) in DECISIONS.items():
        case = f"{load_rps} req/s"
        plan, alone = solve(choices, load_rps, before), best_single(choices, load_rps, before)
        yield Row(table, case, "variant:cores", _words(hosts, plan) if plan.feasible else "infeasible", cores)
        if not plan.feasible:
            continue
        yield Row(table, case, "objective", plan.objective, objective, OBJECTIVE_WITHIN, decimals=6)
        yield Row(table, case, "Model-Switching+", _words(hosts, alone), single)
        if single_objective is not None:
            yield Row(table, case, "its objective", alone.objective, single_objective, OBJECTIVE_WITHIN, decimals=6)


def _gains(choices: Choices, before: list[int], published: tuple[tuple[int, float], ...]) -> Iterator[Row]:
    table = f"Where sets beat one variant, weight of cost {choices.w_cost:g}"
    for load_rps, (variants, gain) in zip(LOADS_RPS, published, strict=True):
        plan, alone = solve(choices, load_rps, before), best_single(choices, load_rps, before)
        on = sum(level > 0 for level in plan.levels)
        yield Row(table, f"{load_rps} req/s", "variants in the optimum", on, variants, 0, decimals=0)
        yield Row(table, f"{load_rps} req/s", "gain in objective", plan.objective - alone.objective, gain, GAIN_WITHIN)


def _words(hosts: list[Host], plan: Plan) -> str:
    """A plan as the table has it: ``18:4+50:16``."""
    parts = []
    for (candidate, variant), level in zip(hosts, plan.levels):
        parts += [f"{variant.removeprefix('resnet')}:{kind.shape.cores}" for kind in replicas_at(candidate, level)]
    return "+".join(parts)


REPRODUCTION = Reproduction(
    title="InfAdapter: exact decisions, and the gain of sets of variants",
    source="InfAdapter (Salmani et al., EuroMLSys 2023): exact optima of its program, profiles of its artefact, 20 cores",
    aim="the same decisions, objectives within 1e-6, gains within 6e-5",
    rows=rows,
)
