"""What every policy of the registry honours, on a scenario that it is for: settings, ties, too much load, failures, live."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from observed import missing, observe
from test_alpaserve_policy import scenario as placed

from agents import registry
from baselines import alpaserve, alpaserve_online, infadapter, ipa, loki, mpc_returns, proteus
from baselines.cascadeserve_fast import FastCascadeServe
from baselines.infadapter_ilp import Plan
from baselines.two_time_scales import TwoTimeScales
from envs.contract import Policy
from envs.envelope import project
from envs.scenario_file import load
from runtime.autoscaler.policy_host import HostedPolicy

NAMES = list(registry.BASELINES)
HOMES = {"ipa": "video", "ipa-fast": "video", "fa2-low": "video", "fa2-high": "video", "rim": "video",
         "cascadeserve": "cascade", "cascadeserve-fast": "cascade", "edgeshard": "edge", "alpaserve": "placed",
         "alpaserve-online": "placed", "selective-replication": "placed"}
MEAN_RPS = {"resnet-variants": 60.0, "video": 8.0, "cascade": 60.0, "edge": 4.0, "placed": 3.0}
RATIOS = (2.0, 0.3, *[1.0] * 8, math.nan, 0.3, 0.3)
ONE_VARIANT = {"static", "hpa", "keda", "kpa", "target-tracking", "autopilot", "mark", "vpa-plus", "sponge", "adapt",
               "fa2-low", "fa2-high", "rim", "edgeshard", "alpaserve", "alpaserve-online", "selective-replication"}
COUNTING = {name for name in NAMES if name.startswith((
    "infadapter", "model-switching-plus", "mpc", "order-keep", "portfolio", "ipa", "fa2", "rim", "loki", "proteus",
    "cascadeserve"))}
PLACED = {"alpaserve", "alpaserve-online", "selective-replication", "edgeshard"}  # from the first decision on


@pytest.fixture(scope="module")
def scenarios(resnet, tmp_path_factory):
    others = {name: load(name) for name in ("video", "cascade", "edge")}
    return {"resnet-variants": resnet, "placed": placed(tmp_path_factory.mktemp("placed")), **others}


@pytest.fixture(autouse=True)
def short_searches(monkeypatch):
    """A coarse grid of returns, and few placements tried, for speed."""
    for module, name in ((alpaserve, "BUDGET"), (alpaserve_online, "BUDGET"), (alpaserve_online, "ANEW")):
        monkeypatch.setattr(module, name, 1e4)
    monkeypatch.setattr(mpc_returns, "GRID", 14)
    monkeypatch.setattr(mpc_returns, "STRETCHES", 2)


@pytest.fixture
def home(name, scenarios):
    return scenarios[HOMES.get(name, "resnet-variants")]


def made(name):
    """The policy with its defaults: what is calibrated may be any of its settings."""
    policy: Policy = registry._class(registry.BASELINES[name])()
    return policy


def seen(scenario, deployment, i, ratio):
    return observe(scenario, deployment, MEAN_RPS[scenario.name] * ratio, t_s=scenario.interval_s * (i + 1),
                   busy=math.nan if math.isnan(ratio) else min(1.0, ratio / 2))


def decisions(decide, scenario, ratios=RATIOS):
    rows = [decide(missing(scenario))]
    for i, ratio in enumerate(ratios):
        rows.append(decide(seen(scenario, rows[-1].deployment, i, ratio)))
    return rows


@pytest.mark.parametrize("name", NAMES)
def test_it_has_settings_to_calibrate_all_of_which_make_a_policy(name, home):
    policy = type(made(name))
    space = policy.space(home)
    assert space and all(len(values) > 1 for values in space.values())
    for setting, values in space.items():
        for value in values:
            policy(**{setting: value})


@pytest.mark.parametrize("name", NAMES)
def test_the_same_observations_give_the_same_feasible_decisions_live_too(name, home):
    """As hosted live, in a thread with a deadline, and called plainly: to the last number, with a reason for each."""
    policy, other = made(name), made(name)
    policy.reset(home)
    hosted = HostedPolicy(name, other, home, deadline_s=60.0)
    try:
        plain, live = decisions(policy.decide, home), decisions(hosted.decide, home)
    finally:
        hosted.close()
    assert plain == live and all(decision.reason for decision in plain)
    assert all(project(decision.deployment, home) == (decision.deployment, ()) for decision in plain)
    assert name in PLACED or plain[0].deployment == home.initial_deployment
    unseen = RATIOS.index(math.nan) + 1
    assert plain[unseen].deployment.replicas == plain[unseen - 1].deployment.replicas  # missing is not zero


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PLACED])
def test_more_load_than_is_carried_gets_what_fits_and_a_reason(name, home):
    policy = made(name)
    policy.reset(home)
    *_, last = decisions(policy.decide, home, (1.0, 1e3))
    assert project(last.deployment, home) == (last.deployment, ()) and last.deployment.replicas and last.reason
    assert ("overloads" in last.details) == (name in COUNTING)
    if name in COUNTING:
        assert last.details["overloads"] >= 1 and "more than the budget carries" in last.reason


@pytest.mark.parametrize("name", NAMES)
def test_replicas_and_routes_move_apart_where_several_variants_serve(name, home):
    """A policy has a form on two time scales, or never has two variants of a service between which load could be shared."""
    policy = made(name)
    if name == "portfolio":
        policy.reset(home)
        policy = policy._policy  # as all of its members
    if name in ONE_VARIANT:
        policy.reset(home)
        for decision in decisions(policy.decide, home, (1.0, 2.0, 0.3, 4.0)):
            hosted = {v for kind in decision.deployment.replicas for v in kind.variants}
            assert all(len(hosted & set(service.variants)) <= 1 for service in home.services.values())
    else:
        fast = policy if isinstance(policy, (TwoTimeScales, FastCascadeServe)) else made(f"{name}-fast")
        assert isinstance(fast, (TwoTimeScales, FastCascadeServe))


UNFINISHED = Plan((0,) * 5, (0.0,) * 5, math.nan, feasible=False, proven=False)
SOLVERS = {  # of each planner with a search: what finds a plan, what it says when it does not, and what is counted
    "infadapter": (infadapter, "solve", UNFINISHED, "timeouts"),
    "infadapter-fast": (infadapter, "solve", UNFINISHED, "timeouts"),
    "infadapter-hold": (infadapter, "solve", UNFINISHED, "timeouts"),
    "infadapter-quantile": (infadapter, "solve", UNFINISHED, "timeouts"),
    "order-keep-band": (infadapter, "solve", UNFINISHED, "timeouts"),
    "ipa": (ipa, "solve", None, "failures"),
    "ipa-fast": (ipa, "solve", None, "failures"),
    "fa2-low": (ipa, "solve", None, "failures"),
    "rim": (ipa, "solve", None, "failures"),
    "loki": (loki, "scale_accuracy", None, "failures"),
    "proteus": (proteus, "solve", None, "timeouts"),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_what_runs_stays_where_no_plan_is_found_and_that_is_counted(name, home, monkeypatch):
    module, solver, nothing, counted = SOLVERS[name]
    policy = made(name)
    scenario = load("video") if name in ("loki", "proteus") else home  # on one service they search by themselves
    policy.reset(scenario)
    running = decisions(policy.decide, scenario, (1.0,))[-1].deployment
    monkeypatch.setattr(module, solver, lambda *_, **__: nothing)
    if name == "proteus":
        monkeypatch.setattr(module, "most_carried", lambda *_: nothing)
    if name == "loki":
        monkeypatch.setattr(policy, "scale_hardware", lambda *_: None, raising=True)
    decision = policy.decide(seen(scenario, running, 1, 8.0))
    assert decision.deployment.replicas == running.replicas and "unchanged" in decision.reason
    assert decision.details[counted] == 1


@pytest.mark.slow  # two processes that plan on all scenarios
def test_ties_are_broken_the_same_way_in_every_process(tmp_path):
    """Sets and hashes come in another order in each process; decisions do not."""
    folder = Path(__file__).parent
    told = [subprocess.run([sys.executable, str(folder / "decisions_of_all.py"), str(tmp_path / seed)], text=True, check=True,
                           capture_output=True, cwd=folder.parents[1], timeout=600,
                           env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(folder.parents[1])}).stdout
            for seed in ("1", "2")]
    assert told[0] == told[1] and told[0].count("\n") == len(NAMES)
