"""Your own scenario: services, models, measured times, budget and load, in one YAML file and one CSV file.

    python examples/04_your_own_scenario.py [my.yaml]

Start from `own_scenario.yaml` beside this file; `tidal scenario check my.yaml` tells what is wrong with it, line by line.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from agents import registry
from envs.episode import run_episode
from envs.loads import open_loads
from envs.scenario_file import load


def main(file: Path = HERE / "own_scenario.yaml") -> None:
    """What is in it, what each replica carries, and how two policies do on it."""
    scenario = load(file)
    for kind in scenario.kinds:
        variant = kind.variants[0]
        print(f"{kind}: accuracy {scenario.variants[variant].accuracy}, {scenario.capacity_rps(kind, variant):.1f} req/s "
              f"a replica, ready {scenario.variants[variant].load_s:g} s after it is started")
    loads = open_loads(scenario, None, "val", 3600).loads
    for name in ("static", "hpa"):
        totals = run_episode(scenario, registry.make(name, scenario), loads, seed=0, start_s=9 * 3600, intervals=120).totals
        print(f"{name:7s} {100 * totals['violation_ratio']:5.2f} % violations, accuracy {totals['accuracy']:.3f}, "
              f"cost {totals['cost']:.2f}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
