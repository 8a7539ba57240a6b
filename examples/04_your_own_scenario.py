"""Your own scenario: services, models, measured times, budget and load, in twenty lines of YAML and a CSV file of times.

    python examples/04_your_own_scenario.py [my.yaml]

All fields: docs/scenarios.md. `tidal scenario check my.yaml` tells what is wrong with it, line by line.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agents import registry
from envs.episode import run_episode
from envs.loads import open_loads
from envs.scenario_file import load

TWENTY_LINES = Path(__file__).parent / "bench" / "scenario.yaml"


def main(file: Path = TWENTY_LINES) -> None:
    """What is in it, what each replica carries, and how two policies do on it."""
    scenario = load(file)
    for kind in scenario.kinds:
        (name,) = kind.variants
        variant = scenario.variants[name]
        print(f"{kind}: accuracy {variant.accuracy}, {scenario.capacity_rps(kind, name):.0f} req/s a replica, "
              f"ready {variant.load_s:g} s after it is started")
    loads = open_loads(scenario, None, "val", 3600).loads
    for name in ("static", "infadapter"):
        totals = run_episode(scenario, registry.make(name, scenario), loads, seed=0, intervals=120).totals
        print(f"{name:10s} {100 * totals['violation_ratio']:5.2f} % violations, accuracy {totals['accuracy']:.3f}, "
              f"cost {totals['cost']:.2f}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
