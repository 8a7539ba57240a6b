"""Policies by name.

    make("infadapter", scenario)                    # a baseline, with its calibrated settings where there are some
    make("ppo", scenario)                           # the agent pretrained for the scenario
    make("runs/mine/best", scenario)                # an exported agent's folder
    make("my_package.my_module:MyPolicy", scenario) # any class of one's own
    make("model.zip", scenario)                     # a model saved by Stable-Baselines3, offline only

Nothing is imported until it is asked for.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from baselines import settings_file
from baselines.settings_file import OUTDATED
from envs.contract import Policy
from envs.scenario import Scenario

PRETRAINED = Path(__file__).parent / "pretrained"

BASELINES = {
    "static": "baselines.static:Static",
    "static-fast": "baselines.static_fast:FastStatic",
    "hpa": "baselines.hpa:HPA",
    "infadapter": "baselines.infadapter:InfAdapter",
    "keda": "baselines.keda:KEDA",
    "kpa": "baselines.kpa:KPA",
    "target-tracking": "baselines.target_tracking:TargetTracking",
    "autopilot": "baselines.autopilot:Autopilot",
    "infaas": "baselines.infaas:INFaaS",
    "mark": "baselines.mark:MArk",
    "vpa-plus": "baselines.vpa:VPA",
    "infadapter-fast": "baselines.two_time_scales:TwoTimeScales",
    "model-switching": "baselines.model_switching:ModelSwitching",
    "model-switching-plus": "baselines.model_switching_plus:ModelSwitchingPlus",
    "model-switching-fast": "baselines.two_time_scales:FastModelSwitching",
    "model-switching-plus-fast": "baselines.two_time_scales:FastModelSwitchingPlus",
    "infaas-fast": "baselines.two_time_scales:FastINFaaS",
    "alpaserve": "baselines.alpaserve:AlpaServe",
    "alpaserve-online": "baselines.alpaserve_online:AlpaServeOnline",
    "selective-replication": "baselines.alpaserve:SelectiveReplication",
    "infadapter-hold": "baselines.hold:HoldPlanner",
    "infadapter-quantile": "baselines.quantile_planner:QuantilePlanner",
    "infadapter-quantile-hold": "baselines.quantile_planner:HeldQuantilePlanner",
    "infadapter-forecast": "agents.forecast_planner:ForecastPlanner",
    "mpc-forecast": "agents.forecast_planner:ForecastMPC",
    "portfolio": "agents.portfolio:Portfolio",
    "order-keep-band": "baselines.band:OrderKeepBand",
    "mpc": "baselines.mpc:MPC",
    "ipa": "baselines.ipa:IPA",
    "ipa-fast": "baselines.ipa_fast:FastIPA",
    "fa2-low": "baselines.fa2:FA2Low",
    "fa2-high": "baselines.fa2:FA2High",
    "rim": "baselines.rim:RIM",
    "cascadeserve": "baselines.cascadeserve:CascadeServe",
    "cascadeserve-fast": "baselines.cascadeserve_fast:FastCascadeServe",
    "edgeshard": "baselines.edgeshard:EdgeShard",
    "sponge": "baselines.sponge:Sponge",
    "adapt": "baselines.adapt:ADAPT",
    "proteus": "baselines.proteus:Proteus",
    "proteus-fast": "baselines.proteus:FastProteus",
    "loki": "baselines.loki:Loki",
    "loki-fast": "baselines.loki:FastLoki",
}
HINDSIGHT = {"oracle": "baselines.oracle:Oracle"}  # needs the future: only evaluate.py can play it
ORDER_KEEP = "order-keep-network"
AGENTS = ("ppo", ORDER_KEEP, "proposals-network")


def names() -> tuple[str, ...]:
    """All names; paths and ``package.module:Class`` are understood besides."""
    return (*BASELINES, *AGENTS)


def make(name: str, scenario: Scenario) -> Policy:
    """A policy for a scenario. `reset` is left to whoever plays it.

    Args:
        name: one of `names()`, the folder of an exported agent, ``package.module:Class`` (a `Policy` that needs
            no arguments), or a ``.zip`` saved by Stable-Baselines3.
        scenario: the problem that it is to solve.

    Raises:
        LookupError: no policy of that name, or none pretrained for the scenario.
        ValueError: an agent's folder or file cannot be used, or a class is not a policy or needs arguments.
        ImportError: the module or class is not there.
    """
    if name in BASELINES:
        return _baseline(name, scenario)
    if name in HINDSIGHT:
        oracle: Policy = _class(HINDSIGHT[name])()
        return oracle
    if name in AGENTS:
        return _pretrained(name, scenario)
    if name.endswith(".zip"):
        return _saved(Path(name), scenario)
    if ":" in name:
        return _own(name)
    if Path(name).is_dir():
        return _exported(Path(name))
    other = "or give an exported agent's folder, package.module:Class, or a .zip of SB3"
    raise LookupError(f"no policy '{name}'; there are {', '.join(names())}; {other}")


def settings(name: str, scenario: Scenario) -> dict[str, Any] | None:
    """Calibrated settings of a baseline for a scenario; None: there are none, its defaults are used."""
    return settings_file.read(settings_file.path_for(scenario.name)).get(name)


def _baseline(name: str, scenario: Scenario) -> Policy:
    found = settings(name, scenario)
    policy = _class(BASELINES[name])(**(found or {}))
    policy.calibrated = found is not None
    if policy.calibrated and not settings_file.fits(settings_file.path_for(scenario.name), scenario):
        policy.calibrated = OUTDATED
    return policy


def _pretrained(name: str, scenario: Scenario) -> Policy:
    folder = PRETRAINED / f"{scenario.name}-{name}"
    if not folder.is_dir() and name == ORDER_KEEP:
        from agents.order_keep_policy import fits

        folder = next((path for path in sorted(PRETRAINED.glob(f"*-{name}")) if fits(path, scenario)), folder)
    if not folder.is_dir():
        have = sorted(path.name.removesuffix(f"-{name}") for path in PRETRAINED.glob(f"*-{name}"))
        raise LookupError(
            f"no pretrained {name} for '{scenario.name}', only for {', '.join(have) or 'none'}; train one: "
            f"python train.py --scenario {scenario.name} --agent {name.removesuffix('-network')}, then give its folder"
        )
    return _exported(folder)


def _exported(folder: Path) -> Policy:
    """What a folder holds. It may come from anywhere: whatever its reader stumbles over is the folder's fault."""
    from agents.manifest import AgentError

    try:
        return _read(folder)
    except AgentError as error:
        if str(folder) in str(error):
            raise
        raise AgentError(f"{folder}: {error}") from error
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError, MemoryError) as error:
        told = " ".join(str(error).split())[:200]
        raise AgentError(f"{folder}: not an exported agent that can be used ({type(error).__name__}: {told})") from error


def _read(folder: Path) -> Policy:
    if (folder / "planner.json").is_file():
        from agents.tuned_planner import TunedPlanner

        return TunedPlanner(folder)
    from agents.network_folder import kind_of

    kind = kind_of(folder)
    if kind == "order-keep":
        from agents.order_keep_policy import OrderKeepNetwork

        return OrderKeepNetwork(folder)
    if kind == "proposals":
        from agents.proposals_policy import ProposalsNetwork

        return ProposalsNetwork(folder)
    from agents.network_policy import NetworkPolicy

    return NetworkPolicy(folder)


def _own(path: str) -> Policy:
    try:
        policy = _class(path)()
    except TypeError as error:
        raise ValueError(f"{path} cannot be made without arguments: {error}") from error
    if not isinstance(policy, Policy):
        raise ValueError(f"{path} is not a policy: derive it from envs.contract.Policy")
    return policy


def _class(path: str) -> Callable[..., Any]:
    """What ``package.module:Class`` names."""
    module, _, name = path.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except AttributeError as error:
        raise ImportError(f"module {module} has no '{name}'") from error
    return found


def _saved(path: Path, scenario: Scenario) -> Policy:
    if not path.is_file():
        raise LookupError(f"{path}: no such file")
    warnings.warn(
        f"{path}: loading a .zip of Stable-Baselines3 runs the code that is pickled in it; load only what you trust",
        stacklevel=3,
    )
    from agents.sb3_policy import SB3Policy

    return SB3Policy(path, scenario)
