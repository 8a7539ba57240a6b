"""Random small problems that mix every feature of the simulator, for comparing two programs of the same semantics.

Every part of a case has its own generator, keyed by (seed, topic): turning a feature off leaves all others as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from envs.contract import CPU, Deployment, ReplicaKind, Shape
from envs.profiles import LATENCY_COLUMNS, Profile
from envs.scenario import Scenario

GRID_S = 0.125
HORIZON_S = 16.0


@dataclass(frozen=True)
class Features:
    """What a case may contain."""

    grid: bool = True  # a share of cases with all times on a grid, so that many events are at equal times
    early: bool = True  # else late binding
    dispatch: bool = True  # rules other than shortest-queue
    chains: bool = True  # applications of several services
    cascades: bool = True  # some of them cascades, with thresholds
    several_variants: bool = True  # on one replica kind
    batches: bool = True
    max_wait: bool = True
    devices: bool = True  # shapes other than cpu: pipeline stages
    noise: bool = True  # service_cv
    overheads: bool = True
    tenants: bool = True  # several, with shares
    quotas: bool = True
    deadline: bool = True
    queue_limit: bool = True
    dropping: bool = True
    load_noise: bool = True
    load_failures: bool = True
    load_slowdown: bool = True  # of the replicas beside one that loads
    failures: bool = True
    lost: bool = True  # requests of a broken replica, in some cases
    deployments: bool = True
    routes: bool = True
    extra_kinds: bool = True  # that are no candidates
    decision_delay: bool = True
    resize: bool = True  # in place


class Case(NamedTuple):
    """One problem: what to deploy when, and what arrives."""

    scenario: Scenario
    arrivals: dict[str, list[float]]
    deployments: list[tuple[float, Deployment]]
    t_end: float


def random_case(seed: int, **features: bool) -> Case:
    """A case; features are on unless told otherwise, such as `random_case(7, routes=False)`."""
    return _Cases(seed, Features(**features)).case()


def cases(**fixed: bool) -> st.SearchStrategy[Case]:
    """Random cases with random features off; a failing case shrinks to few features."""
    flags = {f.name: st.just(fixed[f.name]) if f.name in fixed else st.booleans() for f in fields(Features)}
    return st.builds(random_case, st.integers(0, 2**32 - 1), **flags)


def extra_kinds(case: Case) -> list[ReplicaKind]:
    """Kinds that the deployments bring in, in that order."""
    kinds = (kind for _, deployment in case.deployments for kind in deployment.replicas)
    return list(dict.fromkeys(kind for kind in kinds if kind not in case.scenario.kinds))


def play(cluster: Any, case: Case, every_s: float = 3.0) -> Any:
    """Drives a cluster (`run`, `apply`, `finish`) through a case, stopping now and then on the way. Returns the cluster."""
    stops = {float(t): None for t in np.arange(every_s, case.t_end, every_s)}
    for t in sorted({*stops, *(t for t, _ in case.deployments), case.t_end}):
        cluster.run(t)
        for _, deployment in (d for d in case.deployments if d[0] == t):
            cluster.apply(deployment)
    cluster.finish()
    return cluster


def fewest_features(seed: int, wrong: Callable[[Case], bool]) -> dict[str, bool]:
    """Turns off one feature after the other as long as the case stays wrong. Returns the flags that are left off."""
    off: dict[str, bool] = {}
    for feature in fields(Features):
        trial = {**off, feature.name: False}
        if wrong(random_case(seed, **trial)):
            off = trial
    return off


class _Cases:
    """Draws one case."""

    def __init__(self, seed: int, features: Features) -> None:
        self.seed, self.on = seed, features
        self.grid = features.grid and bool(self.dice("grid").random() < 0.4)

    def dice(self, *topic: str | int) -> np.random.Generator:
        words = [part if isinstance(part, int) else int.from_bytes(part.encode(), "little") for part in topic]
        return np.random.default_rng([self.seed, *words])

    def time(self, dice: np.random.Generator, low: float, high: float) -> float:
        """A time, on the grid where this case has one."""
        x = float(dice.uniform(low, high))
        return max(GRID_S, round(x / GRID_S) * GRID_S) if self.grid else x

    def sometimes(self, topic: str, on: bool, share: float, values: Callable[[np.random.Generator], Any], default: Any) -> Any:
        dice = self.dice(topic)
        return values(dice) if dice.random() < share and on else default

    def case(self) -> Case:
        services, applications = self._services()
        candidates = self._candidates(services)
        kinds = [ReplicaKind(tuple(c["variants"]), shape, c["batch"], c["max_wait_s"])
                 for c in candidates for shape in _shapes(c)]
        extra = self._extra_kinds(kinds)
        scenario = Scenario.model_validate({
            "name": f"random-{self.seed}", "source": "random", "interval_s": 3.0,
            "binding": self.sometimes("early", self.on.early, 0.5, lambda _: "early", "late"),
            "devices": {CPU: {"budget": 64}, "gpu": {"budget": 64}}, "variants": self._variants(), "tenants": self._tenants(),
            "services": services, "applications": applications, "candidates": candidates,
            "initial": self._initial(candidates), "thresholds": self._initial_thresholds(applications), "workload": {},
            "profile": self._profile({kind.shape for kind in [*kinds, *extra]}), **self._timing()})
        return Case(scenario, self._arrivals(scenario), self._deployments(scenario, extra), HORIZON_S)

    def _timing(self) -> dict[str, Any]:
        on, free = self.on, not self.grid
        return {
            "dispatch": self.sometimes("dispatch", on.dispatch, 0.7, lambda d: str(d.choice(
                ["least-expected-finish", "last-stage-clock"])), "shortest-queue"),
            "service_cv": self.sometimes("cv", on.noise and free, 0.6, lambda d: float(d.choice([0.5, 1.0])), 0.0),
            "stage_overhead_ratio": self.sometimes("ratio", on.overheads, 0.3, lambda d: float(d.choice([0.25, 0.009])), 0.0),
            "overhead_s": self.sometimes("overhead", on.overheads, 0.4, lambda d: self.time(d, 0.0, 0.3), 0.0),
            "decision_delay_s": self.sometimes("delay", on.decision_delay, 0.5, lambda d: self.time(d, 0.0, 2.5), 0.0),
            "in_place_resize_s": self.sometimes(
                "resize", on.resize, 0.3, lambda d: float(d.choice([0.0, self.time(d, 0.1, 1.5)])), None),
            "admission": {
                "deadline": self.sometimes("deadline", on.deadline, 0.4, lambda _: True, False),
                "queue_limit_s": self.sometimes("limit", on.queue_limit, 0.4, lambda d: float(d.uniform(0.1, 2.0)), None),
                "drop_after_s": self.sometimes("drop", on.dropping, 0.4, lambda d: self.time(d, 0.2, 1.5), None)},
            "failures": {
                "load_cv": self.sometimes("load cv", on.load_noise and free, 0.5, lambda d: float(d.choice([0.3, 1.0])), 0.0),
                "load_failure_ratio": self.sometimes(
                    "load failure", on.load_failures, 0.4, lambda d: float(d.uniform(0, 0.5)), 0.0),
                "load_slowdown": self.sometimes(
                    "load slowdown", on.load_slowdown, 0.4, lambda d: float(d.choice([1.5, d.uniform(1.0, 3.0)])), 1.0),
                "mean_time_s": self.sometimes("failure", on.failures, 0.5, lambda d: float(d.uniform(4.0, 25.0)), None),
                "detection_s": self.sometimes("detection", True, 0.8, lambda d: self.time(d, 0.1, 2.0), 0.0),
                "in_flight": self.sometimes("lost", on.lost, 0.4, lambda _: "lost", "requeued")}}

    def _variants(self) -> dict[str, dict[str, Any]]:
        variants = {}
        for i in range(5):
            dice = self.dice("variant", i)
            rows = int(dice.choice([0, 2, 3, 4]))
            variants[f"v{i}"] = {
                "accuracy": float(dice.uniform(0.5, 1.0)),
                "load_s": self.time(dice, 0.1, 2.5) if dice.random() < 0.85 else 0.0,
                "certainty": [{"threshold": float(t), "leave_ratio": float(r), "accuracy": float(a)} for t, r, a in zip(
                    np.sort(dice.choice(np.arange(0, 21), rows, replace=False)) / 20,
                    np.sort(dice.uniform(0, 1, rows))[::-1], np.sort(dice.uniform(0.5, 1, rows)))]}
        return variants

    def _tenants(self) -> dict[str, dict[str, Any]]:
        tenants = {}
        for i in range(3 if self.on.tenants else 1):
            dice = self.dice("tenant", i)
            share, limited = float(dice.choice([0.5, 1.0, 2.0, dice.uniform(0.2, 3.0)])), dice.random() < 0.3
            quota, burst = float(dice.uniform(2.0, 12.0)), float(dice.choice([1.0, 2.5, 5.0]))
            tenants[f"t{i}"] = {"share": share, "quota_rps": quota if limited and self.on.quotas else None, "burst": burst}
        return tenants

    def _services(self) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
        dice = self.dice("services")
        count = int(dice.integers(1, 4))
        services = {}
        for i in range(count):
            mine = self.dice("service", i)
            variants = [f"v{v}" for v in mine.permutation(5)[:mine.integers(1, 4)]]
            tenant = int(mine.integers(3)) if self.on.tenants else 0
            services[f"s{i}"] = {"variants": variants, "slo_s": self.time(mine, 0.3, 2.0), "tenant": f"t{tenant}"}
        length, cascade, slo_s = int(dice.integers(1, count + 1)), dice.random() < 0.5, self.time(dice, 0.5, 3.0)
        names = [f"s{i}" for i in dice.permutation(count)[:length]]
        if length == 1 or not self.on.chains:
            return services, {}
        return services, {"chain": {"services": names, "slo_s": slo_s, "cascade": bool(cascade and self.on.cascades)}}

    def _initial_thresholds(self, applications: Mapping[str, Any]) -> dict[str, list[float]]:
        dice = self.dice("thresholds")
        return {name: [float(x) for x in dice.uniform(0, 1, len(app["services"]) - 1)]
                for name, app in applications.items() if dice.random() < 0.5 and app["cascade"]}

    def _candidates(self, services: Mapping[str, Any]) -> list[dict[str, Any]]:
        wanted = [v for service in services.values() for v in service["variants"]]
        many = self.dice("candidates")
        count = max(int(many.integers(1, 5)), len(services) if many.random() < 0.9 else 1)
        candidates = []
        for i in range(count):
            dice = self.dice("candidate", i)
            hosted = [str(dice.choice(wanted)), *(f"v{v}" for v in dice.permutation(5))]
            if i < len(services):  # each service has a host, where there are candidates enough
                hosted.insert(0, services[f"s{i}"]["variants"][0])
            several = int(dice.choice([1, 1, 2, 3]))
            batch, wait = int(dice.integers(1, 5)), self.time(dice, 0.05, 0.6)
            device, stages, intra = dice.random() < 0.4, int(dice.integers(1, 4)), int(dice.integers(1, 3))
            sizes, max_count = int(dice.choice([1, 1, 2])), int(dice.integers(1, 4))
            cores = [int(c) for c in np.sort(dice.permutation([1, 2, 3])[:sizes])]
            greedy = dice.random() < 0.5
            candidates.append({
                "variants": list(dict.fromkeys(hosted))[:several if self.on.several_variants else 1],
                "batch": batch if self.on.batches else 1,
                "max_wait_s": 0.0 if greedy or not self.on.max_wait else wait,
                **({"device": "gpu", "inter_op": stages, "intra_op": intra, "max_count": max_count}
                   if device and self.on.devices else {"cores": cores, "max_count": max_count if sizes == 1 else 1})})
        return candidates

    def _extra_kinds(self, kinds: list[ReplicaKind]) -> list[ReplicaKind]:
        """Kinds like the candidates', of other sizes or batches."""
        extra = []
        for i in range(2):
            dice = self.dice("extra", i)
            like = kinds[int(dice.integers(len(kinds)))]
            cores, batch, stages = int(dice.integers(1, 4)), int(dice.integers(1, 5)), int(dice.integers(1, 3))
            shape = Shape(cores, stages if dice.random() < 0.2 and self.on.devices else 1)
            variants = like.variants[::-1] if dice.random() < 0.5 else like.variants
            batch = like.batch if dice.random() < 0.5 or not self.on.batches else batch
            extra.append(ReplicaKind(variants, shape, batch, like.max_wait_s))
        return extra if self.on.extra_kinds else []

    def _initial(self, candidates: list[dict[str, Any]]) -> list[dict[str, int]]:
        initial = []
        for i, candidate in enumerate(candidates):
            dice = self.dice("initial", i)
            level = 1 + int(dice.integers(100)) % (max(len(_shapes(candidate)), candidate["max_count"]))
            if dice.random() < 0.85:
                initial.append({"candidate": i, "level": level})
        return initial

    def _profile(self, shapes: set[Shape]) -> Profile:
        rows = []
        for v in range(5):
            any_cores = self.dice("any cores", v).random() < 0.5
            for shape in sorted(shapes):
                cores = shape.cores if shape.device == CPU else 0
                # The same for any number of cores, or measured for each number.
                dice = self.dice("profile", v, shape.device, 0 if any_cores else cores, shape.inter_op, shape.intra_op)
                for stage in range(shape.inter_op):
                    first, more = self.time(dice, 0.04, 0.4), self.time(dice, 0.01, 0.1)
                    rows += [(f"v{v}", shape.device, np.nan if any_cores and shape.device == CPU else cores, shape.inter_op,
                              shape.intra_op, batch, stage, first + (batch - 1) * (more if stage == 0 else 0.5 * more))
                             for batch in (1, 2, 4)]
        return Profile(pd.DataFrame(rows, columns=LATENCY_COLUMNS).drop_duplicates(LATENCY_COLUMNS[:-1]))

    def _arrivals(self, scenario: Scenario) -> dict[str, list[float]]:
        arrivals = {}
        for i, name in enumerate(scenario.applications):
            dice = self.dice("arrivals", i)
            count = int(dice.integers(20, 240 // len(scenario.applications)))
            times = np.sort(dice.uniform(0, HORIZON_S * dice.uniform(0.4, 1.0), count))
            times = np.round(times / GRID_S) * GRID_S if self.grid else times
            arrivals[name] = [float(t) for t in times[times < HORIZON_S]]
        return arrivals

    def _deployments(self, scenario: Scenario, extra: list[ReplicaKind]) -> list[tuple[float, Deployment]]:
        dice = self.dice("deployments")
        times = sorted({self.time(dice, 0.0, HORIZON_S - 1) for _ in range(dice.integers(2, 7))} | {0.0})
        deployments: list[tuple[float, Deployment]] = []
        for i, t in enumerate(times[0 if dice.random() < 0.5 else 1:]):
            mine = self.dice("deployment", i)
            if deployments and mine.random() < 0.2:  # the same again, as a policy that keeps what it has
                deployments.append((t, deployments[-1][1]))
                continue
            replicas = dict(scenario.deployment(
                [int(mine.integers(c.levels)) if mine.random() < 0.6 else c.levels - 1 for c in scenario.candidates]).replicas)
            for kind in extra:
                if mine.random() < 0.5:
                    replicas[kind] = int(mine.integers(1, 3))
            routes = self._routes(self.dice("routes", i), scenario, replicas) if self.on.routes else {}
            thresholds = {(name, stage): float(mine.uniform(0, 1)) for name, app in scenario.applications.items()
                          for stage in range(len(app.services) - 1) if app.cascade and mine.random() < 0.7}
            deployments.append((t, Deployment(replicas, routes, thresholds)))
        return deployments if self.on.deployments else []

    @staticmethod
    def _routes(dice: np.random.Generator, scenario: Scenario, replicas: Mapping[ReplicaKind, int]) -> dict[str, Any]:
        """Routes of some services over some of their hosts, seldom with one that is not deployed; some shares are 0."""
        routes = {}
        for name, service in scenario.services.items():
            hosts = [(kind, v) for kind in dict.fromkeys([*replicas, *(k for k in scenario.kinds if dice.random() < 0.1)])
                     for v in service.variants if v in kind.variants]
            if not hosts or dice.random() < 0.4:
                continue
            chosen = [hosts[i] for i in dice.permutation(len(hosts))[:dice.integers(1, 5)]]
            weights = dice.integers(0, 5, len(chosen)) if dice.random() < 0.5 else dice.uniform(0, 1, len(chosen))
            if sum(weights):
                routes[name] = {host: float(w / sum(weights)) for host, w in zip(chosen, weights)}
        return routes


def _shapes(candidate: Mapping[str, Any]) -> list[Shape]:
    if "cores" in candidate:
        return [Shape(cores=c) for c in candidate["cores"]]
    return [Shape(0, candidate["inter_op"], candidate["intra_op"], candidate["device"])]


def describe(case: Case) -> str:
    """A case in a few lines, for a message about one that failed."""
    s = case.scenario
    fixed = s.model_dump(include={
        "binding", "dispatch", "service_cv", "stage_overhead_ratio", "overhead_s", "decision_delay_s", "in_place_resize_s",
        "admission", "failures", "services", "applications", "tenants"})
    lines = [f"{name}: {value}" for name, value in fixed.items()]
    lines += [f"kind {i}: {kind}" for i, kind in enumerate(s.kinds)] + [f"at 0 (ready): {s.initial_deployment}"]
    lines += [f"at {t:g}: {d}; routes {dict(d.routes)}; thresholds {dict(d.thresholds)}" for t, d in case.deployments]
    return "\n".join([*lines, *(f"{name}: {len(times)} arrivals" for name, times in case.arrivals.items())])


def all_off() -> dict[str, bool]:
    """Every feature off: the barest case."""
    return dict.fromkeys(asdict(Features()), False)
