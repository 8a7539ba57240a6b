"""A guess as a scenario file that says how it was found: YAML, its profile in CSV beside it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from reports.replay.guess import LOAD_S, Guess
from reports.replay.recording import Recording

INTERVAL_S = 30
MOST_WAITING_SLOS = 10


def write(found: Guess, recording: Recording, slo_s: float, folder: Path) -> Path:
    """Writes the guess as a scenario, and returns its file.

    Raises:
        OSError: the folder cannot be written to.
    """
    replicas = recording.replicas[np.isfinite(recording.replicas)]
    most = int(max(2 * math.ceil(replicas.max()), math.ceil(replicas.max()) + 2))
    measured_rps = found.busiest_rps if recording.tokens else None
    return _write(folder, found, slo_s, most, max(1, round(float(replicas[0]))), measured_rps,
                  f"guessed from {recording.told}")  # fmt: skip


def _write(folder: Path, found: Guess, slo_s: float, most: int, first: int, measured_rps: float | None, source: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latency.csv").write_text(
        f"variant,device,cores,inter_op,intra_op,batch,stage,latency_s\nmodel,cpu,,1,1,1,0,{found.service_s:.6g}\n",
        encoding="utf-8")
    measured = ""
    if measured_rps is not None:
        (folder / "capacity.csv").write_text("variant,device,cores,inter_op,intra_op,batch,capacity_rps\n"
                                             f"model,cpu,{found.servers},1,1,1,{measured_rps:.6g}\n", encoding="utf-8")
        measured = "capacities: capacity.csv\n"
    told = "\n".join(f"# {sentence}" for sentence in found.told)
    path = folder / "scenario.yaml"
    path.write_text(f"""\
# A guess. Correct what you know better, and give this file by --scenario.
{told}

name: guess
source: "{source.replace('"', "'")}"
interval_s: {INTERVAL_S}
binding: early
dispatch: shortest-queue
service_cv: {found.cv:.3g}

devices:
  cpu: {{budget: {found.servers * most}}}        # servers: {most} replicas of {found.servers}

variants:
  model: {{accuracy: 1.0, load_s: {LOAD_S:g}}}

services:
  service: {{variants: [model], slo_s: {slo_s:g}}}

candidates:
  - {{variants: [model], cores: [{found.servers}], max_count: {most}}}

initial:
  - {{candidate: 0, level: {min(first, most)}}}

admission: {{queue_limit_s: {MOST_WAITING_SLOS * slo_s:g}}}      # {MOST_WAITING_SLOS} SLOs: clients do not wait for ever

workload:
  service: {{trace: diurnal}}               # taken from the record

profile: latency.csv
{measured}""", encoding="utf-8")
    return path
