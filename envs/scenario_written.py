"""A scenario as files again: YAML and its profile's CSV, which `envs.scenario_file.load` reads back as they were."""

from __future__ import annotations

from pathlib import Path

import yaml

from envs.digest import plain
from envs.scenario import Scenario

NAME, LATENCIES, CAPACITIES = "scenario.yaml", "latency.csv", "capacity.csv"


def write(scenario: Scenario, folder: Path, comments: str) -> Path:
    """Writes a scenario into a folder, which is made where there is none; returns the YAML file.

    Args:
        scenario: the problem; files that its workload names stay where they are.
        folder: earlier files of the same names are replaced.
        comments: lines for the top of the file: where its numbers come from.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    said = plain(scenario.model_dump(mode="python", exclude={"profile"}, exclude_defaults=True))
    if scenario.currency:  # then a price is asked for, be it the default
        said["devices"] = {name: {**row, "price": scenario.devices[name].price} for name, row in said["devices"].items()}
    chained = {name: row for name, row in said.pop("applications", {}).items() if name not in scenario.services}
    said = {**said, **({"applications": chained} if chained else {}), "profile": LATENCIES}
    latencies, capacities = scenario.profile.tables()
    latencies.to_csv(folder / LATENCIES, index=False)
    if capacities is not None:
        capacities.to_csv(folder / CAPACITIES, index=False)
        said["capacities"] = CAPACITIES
    for load in said.get("workload", {}).values():
        if Path(load["trace"]).suffix:  # a file: a relative name would be looked for in this folder
            load["trace"] = str(Path(load["trace"]).absolute())
    path, head = folder / NAME, "".join(f"# {line}\n" for line in comments.splitlines())
    path.write_text(f"{head}\n{yaml.safe_dump(said, sort_keys=False, width=120)}", encoding="utf-8")
    return path
