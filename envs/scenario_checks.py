"""What must hold between the parts of a scenario: names used are defined, candidates are profiled and fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from envs.profiles import ProfileError

if TYPE_CHECKING:
    from envs.scenario import Candidate, Scenario, Service

Path = tuple[str | int, ...]
Inconsistency = tuple[Path, str]


def path_text(path: Path) -> str:
    """The name of a part as users read it: ("candidates", 0, "cores") is "candidates[0].cores"."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def inconsistencies(scenario: Scenario) -> list[Inconsistency]:
    """All that does not fit together, each with the path of the part and the reason.

    Entries that are None (parts that are wrong in themselves, see `envs.scenario_file`) are passed over.
    """
    found: list[Inconsistency] = []
    for check in (_devices, _variants, _services, _applications, _workload, _thresholds, _candidates, _initial):
        found += check(scenario)
    return found


def _sound(table: Any) -> Iterator[tuple[Any, Any]]:
    """The entries of a table or list that are not None, with their names or indices."""
    pairs = table.items() if isinstance(table, Mapping) else enumerate(table or ())
    return ((name, entry) for name, entry in pairs if entry is not None)


def _unknown(name: str, table: Mapping[str, Any] | None, path: Path, what: str) -> list[Inconsistency]:
    if table is None or name in table:
        return []
    return [(path, f"unknown {what} '{name}'; known: {', '.join(table) or 'none'}")]


def _variants(scenario: Scenario) -> Iterator[Inconsistency]:
    for name, variant in _sound(scenario.variants):
        thresholds = [row.threshold for row in variant.certainty]
        if any(a >= b for a, b in pairwise(thresholds)):
            yield ("variants", name, "certainty"), "thresholds must rise from row to row"


def _services(scenario: Scenario) -> Iterator[Inconsistency]:
    for name, service in _sound(scenario.services):
        path = ("services", name)
        yield from _unknown(service.tenant, scenario.tenants, (*path, "tenant"), "tenant")
        for i, variant in enumerate(service.variants):
            yield from _unknown(variant, scenario.variants, (*path, "variants", i), "variant")
            if variant in service.variants[:i]:
                yield (*path, "variants", i), f"variant '{variant}' is listed twice"
        if service.wake is not None:
            yield from (((*path, "wake"), reason) for reason in _cannot_wake(scenario, service, service.wake))


def _cannot_wake(scenario: Scenario, service: Service, wake: int) -> Iterator[str]:
    """Why requests have nowhere to wait, or the candidate is none that wakes the service."""
    if scenario.binding != "late":
        yield "requests wait for a first replica with `binding: late` only: with early binding there is no queue before it"
    if wake >= len(scenario.candidates or ()):
        yield f"no candidate {wake}; there are {len(scenario.candidates or ())}, from 0"
    elif (candidate := scenario.candidates[wake]) and not set(candidate.variants) & set(service.variants):
        yield f"candidate {wake} hosts none of its variants"


def _applications(scenario: Scenario) -> Iterator[Inconsistency]:
    placed: set[str] = set()
    for name, application in _sound(scenario.applications):
        for i, service in enumerate(application.services):
            path = ("applications", name, "services", i)
            yield from _unknown(service, scenario.services, path, "service")
            if service in placed:
                yield path, f"service '{service}' is used twice; a service belongs to one place in one application"
            placed.add(service)
    if scenario.applications is None or None in scenario.applications.values():
        return
    for name in set(scenario.services or ()) - placed:
        if name in scenario.applications:
            yield ("services", name), "it is in no application, and an application has its name; rename one of them"


def _workload(scenario: Scenario) -> Iterator[Inconsistency]:
    for name, load in _sound(scenario.workload):
        yield from _unknown(name, scenario.applications, ("workload", name), "application")
        if load.scale is not None and load.mean_rps is not None:
            yield ("workload", name), "give scale or mean_rps, not both"
        if (load.arrivals == "mmpp") != (len(load.states) > 1):
            yield ("workload", name, "states"), "two or more states go with `arrivals: mmpp`, and with no other"
        if load.cv != 1 and load.arrivals not in ("gamma", "weibull"):
            yield ("workload", name, "cv"), f"cv is for gamma and weibull arrivals, not for {load.arrivals}"


def _thresholds(scenario: Scenario) -> Iterator[Inconsistency]:
    for name, row in _sound(scenario.thresholds):
        path = ("thresholds", name)
        application = (scenario.applications or {}).get(name)
        if application is None:
            yield from _unknown(name, scenario.applications, path, "application")
        elif len(row) != len(application.services) - 1:
            needed = len(application.services) - 1
            yield path, f"{len(row)} threshold(s), but it needs {needed}: one for each stage but the last"


def _candidates(scenario: Scenario) -> Iterator[Inconsistency]:
    for i, candidate in _sound(scenario.candidates):
        path = ("candidates", i)
        wrong = _unknown(candidate.device, scenario.devices, (*path, "device"), "device")
        for j, variant in enumerate(candidate.variants):
            wrong += _unknown(variant, scenario.variants, (*path, "variants", j), "variant")
        yield from wrong or _fit(scenario, candidate, path)


def _fit(scenario: Scenario, candidate: Candidate, path: Path) -> Iterator[Inconsistency]:
    """A candidate whose names are known: it is profiled, and one replica fits the budget and the memory of its device."""
    device = (scenario.devices or {}).get(candidate.device)
    hosted = [(scenario.variants or {}).get(v) for v in candidate.variants]
    for kind in candidate.kinds:
        reason = _unprofiled(scenario, candidate.variants, kind)
        if reason:
            yield path, reason
            return
        if device is None or None in hosted:
            continue
        if kind.shape.units > device.budget:
            held = f"{kind.shape.units} of {candidate.device}"
            yield path, f"one replica of {kind} holds {held}, of which the budget is {device.budget}"
        need = scenario.memory_bytes(kind)
        if need > device.memory_bytes:
            yield path, f"{kind} needs {need:.4g} bytes on each device, which has {device.memory_bytes:.4g}"


def _unprofiled(scenario: Scenario, variants: tuple[str, ...], kind: Any) -> str:
    """Why the profile has no latency for a kind; "" where it has, or where there is no profile to ask."""
    try:
        for variant in variants if scenario.profile else ():
            scenario.profile.latency_s(variant, kind.shape, kind.batch)
    except ProfileError as error:
        return str(error)
    return ""


def _devices(scenario: Scenario) -> Iterator[Inconsistency]:
    for name, device in _sound(scenario.devices):
        if device.nodes and sum(device.nodes) < device.budget:
            yield ("devices", name, "nodes"), f"the nodes have {sum(device.nodes)}, less than the budget of {device.budget}"
        if scenario.currency and "price" not in device.model_fields_set:
            yield ("devices", name), f"no price; give {scenario.currency} for a unit and hour, as the scenario has a currency"


def _initial(scenario: Scenario) -> Iterator[Inconsistency]:
    held: dict[str, int] = {}
    started: set[int] = set()
    for i, start in _sound(scenario.initial):
        path = ("initial", i)
        if start.candidate in started:
            yield (*path, "candidate"), f"candidate {start.candidate} is given twice; give it once, with a higher level"
        started.add(start.candidate)
        if start.candidate >= len(scenario.candidates or ()):
            yield (*path, "candidate"), f"no candidate {start.candidate}; there are {len(scenario.candidates or ())}, from 0"
            continue
        candidate = scenario.candidates[start.candidate]
        if candidate is None:
            continue
        if start.level >= candidate.levels:
            levels = f"candidate {start.candidate} has levels 0 to {candidate.levels - 1}"
            yield (*path, "level"), f"no level {start.level}; {levels}"
            continue
        kind = candidate.kinds[start.level - 1 if candidate.sized else 0]
        held[candidate.device] = held.get(candidate.device, 0) + kind.shape.units * (1 if candidate.sized else start.level)
    for name, device in _sound(scenario.devices):
        if held.get(name, 0) > device.budget:
            yield ("initial",), f"the replicas hold {held[name]} of {name}, of which the budget is {device.budget}"
    price = sum(device.price * held.get(name, 0) for name, device in _sound(scenario.devices))
    if scenario.price_limit is not None and price > scenario.price_limit:
        yield ("initial",), f"the replicas cost {price:.4g}, more than the price_limit of {scenario.price_limit:.4g}"
