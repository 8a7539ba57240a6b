"""AlpaServe's published simulation, row by row: 24 models on 16 devices, replicated or in pipelines.

The rows are those of the artifact of Li et al. (OSDI 2023), its experiment of table 2: placement and attainment at ten SLOs
for two placement policies. The workload is regenerated, the recorded placement is played by both kernels.

Latencies (seconds, BERT-2.6B on V100): one device and four devices with intra-operator parallelism have one stage; of a
pipeline the sum of all stages and the slowest one are known, the others are taken as equal. They were recovered from other
rows of the artifact, single devices exactly, pipelines within 0.003 of attainment.
"""

import ast
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from envs.cluster import SimulatedCluster
from envs.contract import Shape
from envs.profiles import LATENCY_COLUMNS, Profile
from envs.replay import replay_groups
from envs.scenario import Scenario
from traces.alpaserve import split_rate, workload
from traces.samplers import RECORDED, make_load

ROWS = 20
MODELS, TOTAL_RPS, CV, LENGTH_S, TRIM_S = 24, 40.0, 4.0, 200.0, 10.0
STAGE_OVERHEAD_RATIO, OVERHEAD_S = 0.009, 0.011
SINGLE_S = 0.2375
SUM_AND_SLOWEST_S = {  # by (inter_op, intra_op)
    (1, 1): (SINGLE_S, SINGLE_S), (1, 4): (0.08873, 0.08873), (4, 1): (0.23869, 0.06264), (8, 1): (0.24314, 0.03355)}


class Row(NamedTuple):
    slo_scale: float
    policy: str
    shapes: list[Shape]
    hosted: list[tuple[int, ...]]  # models of each group
    attainment: float

    @property
    def slo_s(self):
        return single(self.slo_scale * single(SINGLE_S))


def single(x):
    """The artifact keeps latencies and SLOs in single precision, clocks in double."""
    return float(np.float32(x))


def stages_s(shape):
    """Latency of each stage; the slowest comes first, which changes no finish as all models are equal."""
    sum_s, slowest_s = SUM_AND_SLOWEST_S[shape.inter_op, shape.intra_op]
    rest = [single((sum_s - slowest_s) / (shape.inter_op - 1))] * (shape.inter_op - 1) if shape.inter_op > 1 else []
    return [single(slowest_s), *rest]


def recorded_rows():
    root = Path(__file__).parents[2]
    traces = os.environ.get("TIDAL_TRACES")
    folders = [Path(traces).parent / "reference"] if traces else []
    for folder in [*folders, root.parent / "shared" / "reference"]:
        path = folder / "alpaserve" / "align_sim.tsv"
        if path.exists():
            return [parsed(line.split("\t")) for line in path.read_text().splitlines()]
    return []


def parsed(cells):
    shapes = [Shape(0, int(pp), int(op), "gpu") for op, pp in re.findall(r"op=(\d+), pp=(\d+)", cells[16])]
    hosted = list(ast.literal_eval(re.search(r"group_models=(.*)\)$", cells[16]).group(1)))
    return Row(float(cells[9]), cells[11], shapes, hosted, float(cells[17]))


RECORDED_ROWS = recorded_rows()


def rows(chosen=lambda row: True):
    """One test per row; without the recorded rows one that is skipped."""
    found = [pytest.param(row, id=f"{row.policy}-{row.slo_scale:g}") for row in RECORDED_ROWS if chosen(row)]
    skipped = pytest.mark.skip(reason="needs alpaserve/align_sim.tsv in ../shared/reference (or beside TIDAL_TRACES)")
    return pytest.mark.parametrize("row", found or [pytest.param(None, id="none", marks=skipped)])


@pytest.fixture(scope="module")
def requests():
    return workload(split_rate(TOTAL_RPS, MODELS), CV, LENGTH_S)


def replayed(row, requests):
    """Latency of each request by the replay kernel, nan where it was refused."""
    first_host, hosts, latency_s = [0], [], []
    n_stages = np.array([shape.inter_op for shape in row.shapes])
    for model in range(MODELS):
        for g, (shape, hosted) in enumerate(zip(row.shapes, row.hosted)):
            if model in hosted:
                hosts.append(g)
                stretched = np.array(stages_s(shape)) * (1 + STAGE_OVERHEAD_RATIO * shape.inter_op)
                latency_s.append(np.pad(stretched, (0, n_stages.max() - shape.inter_op)))
        first_host.append(len(hosts))
    out_s = np.empty(len(requests))
    replay_groups(requests.arrival_s.to_numpy(), requests.model.to_numpy(), np.array(first_host), np.array(hosts),
                  np.array(latency_s), n_stages, np.full(MODELS, row.slo_s), OVERHEAD_S,
                  np.zeros((len(n_stages), n_stages.max())), out_s)
    return out_s


def cluster(row, requests):
    """The same as a simulated cluster: every model is a service, every group a replica."""
    names = [f"m{i}" for i in range(MODELS)]
    groups = {}  # equal groups are replicas of one kind
    for shape, hosted in zip(row.shapes, row.hosted):
        groups[shape, hosted] = groups.get((shape, hosted), 0) + 1
    table = [(name, "gpu", 0, shape.inter_op, shape.intra_op, 1, stage, latency_s)
             for shape in dict.fromkeys(row.shapes) for name in names for stage, latency_s in enumerate(stages_s(shape))]
    scenario = Scenario.model_validate({
        "name": "table-2", "source": "Li et al., OSDI 2023", "interval_s": 50.0, "binding": "early",
        "dispatch": "last-stage-clock", "admission": {"deadline": True}, "overhead_s": OVERHEAD_S,
        "stage_overhead_ratio": STAGE_OVERHEAD_RATIO,
        "devices": {"gpu": {"budget": 16}}, "variants": {name: {"accuracy": 1.0, "load_s": 0.0} for name in names},
        "services": {name: {"variants": [name], "slo_s": row.slo_s} for name in names}, "workload": {},
        "candidates": [{"variants": [names[i] for i in hosted], "device": "gpu", "inter_op": shape.inter_op,
                        "intra_op": shape.intra_op, "max_count": count} for (shape, hosted), count in groups.items()],
        "initial": [{"candidate": i, "level": count} for i, count in enumerate(groups.values())],
        "profile": Profile(pd.DataFrame(table, columns=LATENCY_COLUMNS))})
    by_model = requests.groupby("model").arrival_s
    loads = {names[model]: make_load(RECORDED, recorded_s=times.to_numpy()) for model, times in by_model}
    return SimulatedCluster(scenario, loads, record=True)


def simulated(row, requests):
    """Latency of each request by the event kernel, nan where it was rejected."""
    played = cluster(row, requests)
    while played.t_s < LENGTH_S:
        played.advance()
    played.finish()
    records = played.records()
    assert set(records.fate) <= {"good", "rejected"} and len(records) == len(requests)
    order = pd.DataFrame({"application": "m" + requests.model.astype(str), "number": requests.groupby("model").cumcount()})
    matched = order.merge(records, on=["application", "number"], how="left", validate="one_to_one")
    return np.where(matched.fate == "good", matched.t_s - requests.arrival_s, np.nan)


def attainment(latency_s, requests):
    """Share answered, without the first and last ten seconds' worth of requests."""
    times = requests.arrival_s.to_numpy()
    trim = int(TRIM_S / (times[-1] - times[0]) * len(times))
    return np.mean(~np.isnan(latency_s[trim:-trim]))


def test_all_rows_are_there():
    if not RECORDED_ROWS:
        pytest.skip("needs alpaserve/align_sim.tsv in ../shared/reference (or beside TIDAL_TRACES)")
    assert len(RECORDED_ROWS) == ROWS
    assert sum(row.policy == "sr-greedy" for row in RECORDED_ROWS) == ROWS // 2


@rows(lambda row: row.policy == "sr-greedy")
def test_replication_rows_to_three_decimals(row, requests):
    assert round(attainment(replayed(row, requests), requests), 3) == row.attainment


@rows(lambda row: row.policy == "mp-search")
def test_model_parallel_rows(row, requests):
    assert attainment(replayed(row, requests), requests) == pytest.approx(row.attainment, abs=0.003)


@rows()
def test_both_kernels_agree_on_every_request(row, requests):
    assert np.array_equal(simulated(row, requests), replayed(row, requests), equal_nan=True)


def test_two_groups_with_the_same_models_are_next_to_each_other():
    """Equal groups become replicas of one kind: the order of groups, which breaks ties, is kept."""
    for row in RECORDED_ROWS:
        places = [list(zip(row.shapes, row.hosted)).index(group) for group in zip(row.shapes, row.hosted)]
        assert places == sorted(places)
