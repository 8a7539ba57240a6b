"""Trains an agent.

    python train.py --scenario resnet-variants --trace twitter_2021 --agent ppo --steps 1000000 --seed 0
    python train.py --agent order-keep --trace twitter_2021,nasa_1995_jul,worldcup_1998 --seeds 10
    python train.py --agent ppo --seeds 3 --sweep learning_rate=0.001,0.0005 --jobs 2      # six runs, two at a time
    python train.py --agent ppo --seeds 3 --engine ray                                     # on a Ray cluster (extra `ray`)
    python train.py --scenario video --agent proposals --seed 0
    python train.py --config runs/mine/config.yaml                 # the same run again
    python train.py --resume runs/mine                             # go on where it stopped
    tensorboard --logdir runs                                      # curves, while it trains

The load's training part is parted in time: the agent learns on the earlier part, and on the last `--selection` of it the
best agent of the run is chosen; validation is left for evaluate.py. A run writes runs/NAME: config.yaml, checkpoint.pt,
evaluations.csv, tensorboard/, and best/, the exported agent, which `evaluate.py --policies runs/NAME/best` takes. Ctrl-C
saves and ends.

Exit codes: 0 trained, 1 interrupted (saved), 2 called wrongly.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from agents.learners import LEARNERS
from baselines.weights_folder import copy_folder

if TYPE_CHECKING:
    from agents.cem import CEMRun
    from agents.dagger import DaggerRun
    from agents.order_keep_stage import Stage
    from agents.order_keep_training import OrderKeepRun
    from agents.proposals_training import ProposalsRun
    from agents.training import Run
    from envs.scenario import Scenario

INTERRUPTED, WRONG = 1, 2


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="train.py", description="Trains an agent.", argument_default=argparse.SUPPRESS)
    what = top.add_argument_group("what is trained, on what")
    what.add_argument("--scenario", help="a built-in scenario, or a YAML file (resnet-variants)")
    what.add_argument(
        "--trace",
        metavar="NAME_OR_PATH",
        help="in place of the scenario's trace, at the scenario's mean load; order-keep and proposals: several, with commas",
    )
    what.add_argument("--agent", choices=(*LEARNERS, "cem", "order-keep", "proposals", "dagger"), help="how it learns (ppo)")
    what.add_argument("--steps", type=_count, metavar="N", help="decisions learnt from (1e6; order-keep 8e6, proposals 2e6)")
    what.add_argument("--seed", type=int, metavar="S", help="of weights, actions and loads (0)")
    what.add_argument("--seeds", type=_count, metavar="N", help="train N agents, of seeds S, S + 1, ...")
    what.add_argument("--sweep", action="append", metavar="SETTING=A,B,...", help="one of each; repeat it for all pairs")
    what.add_argument(
        "--set", action="append", metavar="SETTING=VALUE", help="a setting of the agent, such as gamma=0.9; repeat it"
    )
    how = top.add_argument_group("how it is watched and chosen")
    how.add_argument(
        "--selection", type=float, metavar="RATIO", help="last part of the training load, to choose the best agent on (0.2)"
    )
    how.add_argument("--windows", type=_count, metavar="N", help="episodes of an evaluation while training (16)")
    how.add_argument("--evaluate-every", type=_count, metavar="STEPS", help="steps between evaluations (50000)")
    how.add_argument("--days", type=float, help="length of a generated load (5)")
    runs = top.add_argument_group("the run")
    runs.add_argument("--name", help="its folder in runs/ (scenario, agent, seed)")
    runs.add_argument("--config", type=Path, metavar="FILE", help="a run's config.yaml; what is said beside it wins")
    runs.add_argument("--resume", type=Path, metavar="FOLDER", help="go on with a run; nothing else is needed")
    runs.add_argument("--jobs", type=_count, metavar="N", help="of several, so many at a time in processes (1, in this one)")
    runs.add_argument("--engine", choices=("processes", "ray"), help="where several agents are trained; ray: see RAY_ADDRESS")
    runs.add_argument("--export", type=Path, metavar="FOLDER", help="write the best agent there too")
    runs.add_argument("--threads", type=_count, metavar="N", help="of torch; more than 1 rarely pays (1)")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Trains and returns the exit code.

    Raises:
        SystemExit: code 2 for wrong arguments; code 0 after --help.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    said = vars(parser().parse_args(words))
    at_once, engine = said.pop("jobs", 1), said.pop("engine", "processes")
    try:
        wishes = list(_each(said))
        if engine == "ray" or (at_once > 1 and len(wishes) > 1):
            return _train_elsewhere(wishes, at_once, engine)
    except (ValueError, LookupError, OSError, ImportError, yaml.YAMLError) as error:
        print(f"train.py: {' '.join(str(error).split())}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        return INTERRUPTED
    return next((code for code in map(_train, wishes) if code), 0)  # the first that goes wrong ends it


def _train_elsewhere(wishes: Sequence[dict[str, Any]], at_once: int, engine: str) -> int:
    from agents.engines import Job, in_processes, on_ray

    jobs = [Job(folder, config) for config, folder, _ in map(_config, wishes)]
    codes = on_ray(jobs, None) if engine == "ray" else in_processes(jobs, at_once)
    return next((code for code in codes if code), 0)


def _each(said: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The command line for each agent that is to be trained."""
    count, first, name = said.pop("seeds", None), said.get("seed", DEFAULTS["seed"]), said.get("name")
    swept = [_swept(wish) for wish in said.pop("sweep", [])]
    for wishes in itertools.product(*swept):
        named = "-".join([name or _default_name(said), *wishes]) if wishes else name
        one = {**said, "set": [*said.get("set", []), *wishes]} if wishes else said
        if count is None and not wishes:
            yield one
        for seed in range(first, first + (count or bool(wishes))):
            yield {**one, "seed": seed, **({"name": f"{named}-seed{seed}"} if named else {})}


def _swept(wish: str) -> list[str]:
    """A SETTING=VALUE for each value."""
    setting, equals, values = wish.partition("=")
    if not (equals and values):
        raise ValueError(f"--sweep {wish}: give a setting and its values, such as gamma=0.9,0.99")
    return [f"{setting}={value}" for value in values.split(",")]


def _default_name(said: dict[str, Any]) -> str:
    return f"{Path(said.get('scenario', DEFAULTS['scenario'])).stem}-{said.get('agent', DEFAULTS['agent'])}"


def _train(said: dict[str, Any]) -> int:
    try:
        config, folder, resume = _config(said)
        run = _prepare(config, folder, resume)
    except (ValueError, LookupError, OSError, ImportError, TypeError, yaml.YAMLError) as error:
        print(f"train.py: {' '.join(str(error).split())}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        return INTERRUPTED
    began = time.process_time()
    finished = run.learn()
    best = run.best
    told = f"best: reward {best['reward']:.4f} after {best['steps']:.0f} steps" if best else "no evaluation yet"
    print(f"{folder}: {run.steps} of {config['steps']} steps, {time.process_time() - began:.0f} s of CPU; {told}")
    if not finished:
        print(f"interrupted and saved; go on with: python train.py --resume {folder}", file=sys.stderr)
        return INTERRUPTED
    if config["export"]:
        copy_folder(folder / "best", Path(config["export"]))
        print(f"exported: {config['export']}")
    return 0


DEFAULTS: dict[str, Any] = {
    "scenario": "resnet-variants", "trace": None, "agent": "ppo", "steps": 1_000_000, "seed": 0, "settings": {},
    "selection": 0.2, "windows": 16, "evaluate_every": 50_000, "days": 5.0, "threads": 1, "export": None,
}  # fmt: skip
OF_AGENT: dict[str, dict[str, Any]] = {"order-keep": {"steps": 8_000_000, "selection": 0.15, "evaluate_every": 960_000},
                                       "proposals": {"steps": 2_000_000, "evaluate_every": 200_000},
                                       "dagger": {"steps": 7_000, "windows": 8}}


def _config(said: dict[str, Any]) -> tuple[dict[str, Any], Path, bool]:
    """The run's whole configuration, its folder, and whether it goes on: defaults, then the file, then the command line."""
    said = dict(said)
    resume, file, name = said.pop("resume", None), said.pop("config", None), said.pop("name", None)
    wishes = dict(wish.split("=", 1) if "=" in wish else (wish, "") for wish in said.pop("set", []))
    if resume is not None:
        file, name = resume / "config.yaml", None
    stored = yaml.safe_load(file.read_text(encoding="utf-8")) if file is not None else {}
    unknown = sorted(set(stored) - set(DEFAULTS))
    if unknown:
        raise ValueError(f"{file}: unknown {', '.join(unknown)}; known: {', '.join(DEFAULTS)}")
    if "export" in said:
        said["export"] = str(said["export"])
    agent = said.get("agent", stored.get("agent", DEFAULTS["agent"]))
    config = {**DEFAULTS, **OF_AGENT.get(agent, {}), **stored, **said}
    config["settings"] = _settings(
        config["agent"], {**config["settings"], **{k: yaml.safe_load(v) for k, v in wishes.items()}}
    )
    if not 0 < config["selection"] < 1:
        raise ValueError(f"--selection {config['selection']}: give a part of the load, above 0 and below 1")
    default = f"{_default_name(config)}-seed{config['seed']}"
    return config, resume or Path("runs") / (name or default), resume is not None


def _settings(agent: str, wishes: dict[str, Any]) -> dict[str, Any]:
    """All settings of an agent, with what is wished for."""
    if agent == "order-keep":
        from agents.order_keep_training import OrderKeepSettings as Settings
    elif agent == "proposals":
        from agents.proposals_training import ProposalsSettings as Settings  # type: ignore[assignment]
    elif agent == "dagger":
        from agents.dagger import DaggerSettings as Settings  # type: ignore[assignment]
    elif agent == "cem":
        from agents.cem import CEMSettings as Settings  # type: ignore[assignment]
    else:
        Settings = LEARNERS[agent].settings_class()  # type: ignore[assignment, misc]

    known = dataclasses.asdict(Settings())
    unknown = sorted(set(wishes) - set(known))
    if unknown:
        raise ValueError(f"unknown setting {', '.join(unknown)} of {agent}; known: {', '.join(known)}")
    return dataclasses.asdict(Settings(**{name: type(known[name])(value) for name, value in wishes.items()}))


def _prepare(
    config: dict[str, Any], folder: Path, resume: bool
) -> Run | CEMRun | OrderKeepRun | ProposalsRun | DaggerRun:
    """Everything that can be wrong is found here, before anything is learnt."""
    import torch

    from agents.engines import begun
    from envs.loads import DAY_S, open_loads
    from envs.scenario_file import load as load_scenario

    if not resume and begun(folder):
        raise ValueError(f"{folder} holds a run: go on with --resume {folder}, or give another --name")
    torch.set_num_threads(config["threads"])
    scenario = load_scenario(config["scenario"])
    if config["agent"] == "order-keep":
        return _prepare_order_keep(config, folder, resume)
    if config["agent"] in ("proposals", "dagger"):
        return _prepare_over_proposals(config, folder, resume, scenario)
    loads = open_loads(scenario, config["trace"], "train", config["days"] * DAY_S)
    run = _run(config["agent"])(scenario, loads.loads, config, folder)
    if resume:
        run.resume()
    print(
        f"{folder}: {config['agent']} on {scenario.name}, {loads.told}; {config['steps']} steps, seed {config['seed']}",
        flush=True,
    )
    return run


def _run(agent: str) -> type[Run] | type[CEMRun]:
    if agent == "cem":
        from agents.cem import CEMRun

        return CEMRun
    from agents.training import Run

    return Run


def _prepare_order_keep(config: dict[str, Any], folder: Path, resume: bool) -> OrderKeepRun:
    from agents.order_keep_training import OrderKeepRun

    stage, told = _stage(config["scenario"], config["trace"], config["days"], config["selection"])
    run = OrderKeepRun(stage, config, folder)
    if resume:
        run.resume()
    print(f"{folder}: order-keep on {stage.scenario.name}, {told}; {config['steps']} steps, seed {config['seed']}", flush=True)
    return run


def _prepare_over_proposals(
    config: dict[str, Any], folder: Path, resume: bool, scenario: Scenario
) -> ProposalsRun | DaggerRun:
    from agents.dagger import DaggerRun
    from agents.proposals_training import ProposalsRun
    from envs.loads import DAY_S, open_loads

    traces = config["trace"].split(",") if config["trace"] else [None]
    opened = [open_loads(scenario, trace, "train", config["days"] * DAY_S) for trace in traces]
    run = (DaggerRun if config["agent"] == "dagger" else ProposalsRun)(
        scenario, {loads.trace: loads.loads for loads in opened}, config, folder
    )
    if resume:
        run.resume()
    told = "; ".join(loads.told for loads in opened)
    learnt = f"{config['agent']} on {scenario.name}, {told}"
    print(f"{folder}: {learnt}; {config['steps']} steps, seed {config['seed']}", flush=True)
    return run


@lru_cache(maxsize=1)
def _stage(name: str, trace: str | None, days: float, selection: float) -> tuple[Stage, str]:
    """What all seeds of a command share, and its loads in words."""
    from agents import registry
    from agents.order_keep_stage import Stage
    from envs.loads import DAY_S, open_loads
    from envs.scenario_file import load as load_scenario

    scenario = load_scenario(name)
    opened = [open_loads(scenario, one, "train", days * DAY_S) for one in (trace.split(",") if trace else [None])]
    planner = registry.settings("infadapter-fast", scenario) or {}
    stage = Stage(scenario, {loads.trace: loads for loads in opened}, selection, planner)
    return stage, "; ".join(loads.told for loads in opened)


def _count(text: str) -> int:
    number = int(float(text))
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
