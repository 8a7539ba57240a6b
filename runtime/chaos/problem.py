"""What a trial serves: one service, two variants, and an operator's limits. Small, so that two cores carry all of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from envs.envelope import Limits
from envs.scenario import Scenario
from envs.scenario_file import load

NAME, SERVICE, INPUT = "chaos", "classify", "payload"  # the last: what an emulated replica calls its input
INTERVAL_S = 0.5
RATE_RPS = 30.0
NOTES = "TIDAL_CHAOS_NOTES"  # names, in the environment, the file in which models note what they begin
LATENCY_S = {"quick": 0.005, "good": 0.015}
BATCHES = (1, 4)
LEVELS = 4  # replicas of a variant, at most
LOAD_S = 0.3
LIMITS = Limits(min_levels=(1, 0), max_rise=2, max_fall=2, change_window_s=2.0, max_age_s=1.5)
BREAK = {"mean_time_s": 20.0, "detection_s": 0.2, "load_failure_ratio": 0.05}  # emulated replicas, beside the faults


@dataclass(frozen=True)
class Written:
    """The files.

    Attributes:
        scenario: as read back.
        path, models, limits: what commands are given; models is None where replicas are emulated.
        notes: where models note what they begin.
    """

    scenario: Scenario
    path: Path
    models: Path | None
    limits: Path
    notes: Path


def write(folder: Path, workers: bool) -> Written:
    """Writes them."""
    path, models, limits, notes = (folder / name for name in ("scenario.yaml", "models.yaml", "limits.yaml", "notes"))
    rows = [f"{variant},cpu,,1,1,{batch},0,{latency_s}" for variant, latency_s in LATENCY_S.items() for batch in BATCHES]
    (folder / "latency.csv").write_text("\n".join(["variant,device,cores,inter_op,intra_op,batch,stage,latency_s", *rows]))
    path.write_text(yaml.safe_dump(_scenario({} if workers else {"failures": BREAK}), sort_keys=False))
    models.write_text(yaml.safe_dump({"variants": {name: f"runtime.chaos.models:{name}" for name in LATENCY_S}}))
    limits.write_text(yaml.safe_dump({name: list(said) if isinstance(said, tuple) else said
                                      for name, said in asdict(LIMITS).items() if said is not None}))
    notes.touch()
    return Written(load(path), path, models if workers else None, limits, notes)


def _scenario(more: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": NAME, "source": "made for trials with faults", "interval_s": INTERVAL_S, "binding": "early",
        "dispatch": "shortest-queue", "devices": {"cpu": {"budget": 2 * LEVELS}},
        "variants": {"quick": {"accuracy": 0.7, "load_s": LOAD_S}, "good": {"accuracy": 0.8, "load_s": LOAD_S}},
        "services": {SERVICE: {"variants": ["good", "quick"], "slo_s": 0.5}},
        "candidates": [{"variants": [variant], "cores": [1], "batch": batch, "max_wait_s": 0.01, "max_count": LEVELS}
                       for variant, batch in zip(LATENCY_S, BATCHES)],
        "initial": [{"candidate": 0, "level": 2}],
        "workload": {SERVICE: {"trace": "twitter-like", "mean_rps": RATE_RPS}}, "profile": "latency.csv", **more,
    }  # fmt: skip
