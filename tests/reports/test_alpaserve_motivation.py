"""AlpaServe's motivation: the directions of its figures, and batches of one against the replay."""

import math
from dataclasses import replace

import numpy as np
import pytest

from baselines.alpaserve_published import problem
from baselines.placement import Group
from baselines.placement_replay import Replay, Requests
from reports.reproductions import alpaserve_motivation as motivation
from traces.alpaserve import split_rate, workload


@pytest.mark.parametrize("figure", ["_memory", "_rate", "_variation", "_slo", "_overheads", "_parallel", "_automatic"])
def test_the_direction_is_the_published_one(figure):
    rows = list(getattr(motivation, figure)())
    judged = [row for row in rows if row.reached is not None]
    assert judged and all(row.reached for row in judged)
    assert all(math.isfinite(row.ours) for row in rows if isinstance(row.ours, float))


@pytest.mark.slow
def test_every_other_figure_has_it_too():
    rows = [*motivation._robust(), *motivation._batches()]
    assert all(row.reached for row in rows if row.reached is not None)


@pytest.mark.parametrize("scale", [1.5, 3.0, 8.0])
def test_batches_of_one_attain_what_the_replay_attains(scale):
    """A request that is dropped when it would be late is one that is refused at once: both pipelines are alike."""
    requests = Requests.of(workload(split_rate(64.0, 16), 4.0, 20.0))
    plan, single = motivation._planned("bert-1.3b", 4, 1), motivation._planned("bert-1.3b", 1, 1)
    made = problem(("bert-1.3b",) * 16, 8, scale)
    shape = motivation._shape(4)
    models = tuple(replace(m, slo_s=scale * sum(single.stage_s()), latency_s={shape: plan.stage_s()},
                           weight_bytes={shape: 1.0}) for m in made.models)
    pipelines = (Group(shape, tuple(range(16))),) * 2
    expected = Replay(replace(made, models=models), requests).play(pipelines).attainment
    assert motivation._batched(1, scale, requests) == pytest.approx(expected, abs=2 / len(requests))


def test_a_lone_request_is_answered_where_the_slo_allows():
    requests = Requests(np.array([0.0, 100.0]), np.array([3, 4]))
    assert motivation._batched(16, 1.2, requests) == 1.0
    assert motivation._batched(16, 1.0, requests) == 0.0  # the pipeline is slower than one device
