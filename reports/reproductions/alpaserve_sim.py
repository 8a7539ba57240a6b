"""AlpaServe's simulation of its table 2, made again: their placements replayed, and the same cases planned by us.

24 x BERT-2.6B on 16 V100 (13 GiB each), 40 req/s by a power law, gamma arrivals of CV 4, 200 s; ten SLOs, Selective
Replication and AlpaServe's search. The workload is regenerated from its seeds. As published, plans are made on about 30,000
requests of other seeds. Their placements are read from the artefact's `align_sim.tsv`, in `reference/alpaserve` beside the
folder of shared traces; without it ours are held against the published attainments alone.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from baselines.alpaserve_published import DEVICE, Traffic, attainment, problem
from baselines.alpaserve_search import search
from baselines.placement import Group, Placement
from baselines.placement_replay import Replay
from baselines.selective_replication import replicate
from envs.contract import Shape
from reports.reproductions.reproduction import Reproduction, Row

MODELS, DEVICES = ("bert-2.6b",) * 24, 16
TRAFFIC = Traffic(24, 40.0, 4.0)
SLO_SCALES = (0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10)
PUBLISHED = {
    "sr-greedy": (0, 0, 0.302, 0.368, 0.485, 0.578, 0.640, 0.689, 0.771, 0.826),
    "mp-search": (0.333, 0.532, 0.647, 0.806, 0.921, 0.965, 0.979, 0.987, 0.996, 0.997),
}
TITLES = {"sr-greedy": "Selective Replication", "mp-search": "AlpaServe, search"}
ROUNDED, SHORT_BY = 0.0005, 0.002  # published to 3 decimals; how far a plan of ours may stay behind theirs
FITTED = "latency of pipelines and shards was fitted to such rows"


def rows() -> Iterator[Row]:
    """Their placements in our simulator, then ours beside them."""
    recorded = read_recorded()
    test, training = TRAFFIC.test(), TRAFFIC.training()
    scored: dict[tuple[str, float], float] = {}
    for (policy, scale), placement in recorded.items():
        scored[policy, scale] = attainment(test, Replay(problem(MODELS, DEVICES, scale), test).play(placement).latency_s)
    for policy, published in PUBLISHED.items():
        replication = policy == "sr-greedy"
        for scale, theirs in zip(SLO_SCALES, published, strict=True):
            if (policy, scale) in scored:
                yield Row(f"{TITLES[policy]}: their placement replayed", f"SLO {scale:g}x", "attainment",
                          round(scored[policy, scale], 3), theirs, 0.0 if replication else None, decimals=3,
                          note="" if replication else FITTED)
        for scale, theirs in zip(SLO_SCALES, published, strict=True):
            replay = Replay(problem(MODELS, DEVICES, scale), training)
            placement = replicate(replay) if replication else search(replay).placement
            ours = attainment(test, Replay(replay.problem, test).play(placement).latency_s)
            goal = scored.get((policy, scale), theirs - ROUNDED)
            table, case = f"{TITLES[policy]}: planned by us on other requests", f"SLO {scale:g}x"
            yield Row(table, case, "attainment", ours, theirs, note=f"groups of {placement[0].shape}")
            yield Row(table, case, "short of theirs by", max(0.0, goal - ours), 0.0, SHORT_BY,
                      note="of their placement in our simulator" if scored else "of the published figure, which is rounded")


def read_recorded() -> dict[tuple[str, float], Placement]:
    """Their placements by (policy, SLO scale); none where the file is not there."""
    return {(cells[11], float(cells[9])): placement_of(cells[16]) for cells in recorded_lines("align_sim.tsv")}


def recorded_lines(name: str) -> list[list[str]]:
    """The cells of a file of the artefact, line by line; none where it is not there."""
    traces = os.environ.get("TIDAL_TRACES")
    path = Path(traces).parent / "reference" / "alpaserve" / name if traces else None
    if path is None or not path.is_file():
        return []
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def placement_of(text: str) -> Placement:
    """A placement as the artefact writes it."""
    shapes = [Shape(0, int(pp), int(op), DEVICE) for op, pp in re.findall(r"op=(\d+), pp=(\d+)", text)]
    hosted = re.search(r"group_models=(.*)\)$", text)
    models = ast.literal_eval(hosted.group(1)) if hosted else ()
    return tuple(Group(shape, tuple(group)) for shape, group in zip(shapes, models, strict=True))


def account(found: Sequence[Row]) -> list[str]:
    """How far ours are from theirs, up and down."""
    said = []
    for title in TITLES.values():
        by_us = [row for row in found if row.table.startswith(f"{title}: planned") and row.figure == "attainment"]
        gaps = [row.difference or 0.0 for row in by_us]
        said.append(f"{title}, planned by us on requests of other seeds: {min(gaps):+.4f} to {max(gaps):+.4f} of the "
                    "published attainment.")
    if not any("replayed" in row.table for row in found):
        said.append("Their placements were not at hand: put the artefact's align_sim.tsv into reference/alpaserve beside the "
                    "folder of shared traces to replay them.")
    return said


REPRODUCTION = Reproduction(
    title="AlpaServe's simulated attainment at ten SLOs: replicated, and in pipelines and shards",
    source="AlpaServe (Li et al., OSDI 2023), table 2; rows and seeds of its artefact",
    aim="their replicated placements to three decimals; planned by us at least what their placement attains, less 0.002",
    rows=rows,
    account=account,
)
