"""The same scenario faster: the same requests have the same fates."""

import numpy as np
import pytest

from envs.cluster import SimulatedCluster
from envs.digest import digest
from envs.scenario import Failures
from envs.scenario_file import load
from reports.against.faster import faster
from traces.load import RECORDED, make_load


@pytest.mark.parametrize("name", ["resnet-variants", "tenants", "cascade", "video", "alpaserve-s4"])
def test_slower_again_is_as_before(name):
    scenario = load(name)
    assert digest(faster(faster(scenario, 4.0), 0.25)) == digest(scenario)
    assert faster(scenario, 4.0).interval_s == scenario.interval_s / 4
    assert [4 * kind.max_wait_s for kind in faster(scenario, 4.0).kinds] == [kind.max_wait_s for kind in scenario.kinds]


def test_four_times_as_fast_the_same_requests_have_the_same_fates():
    scenario = load("live-demo").with_(failures=Failures(load_cv=0.5, mean_time_s=40.0))
    due_s = np.round(np.random.default_rng(1).uniform(0, 60, 2000), 3)
    counts = []
    for factor in (1.0, 4.0):  # a power of two: every time is exactly a quarter, so nothing is rounded otherwise
        load_ = make_load(RECORDED, recorded_s=np.sort(due_s) / factor)
        cluster = SimulatedCluster(faster(scenario, factor), {"classify": load_}, seed=3)
        for _ in range(13):
            cluster.apply(cluster.deployment)
            cluster.advance()
        counts.append((cluster.totals().app_count.tolist(), cluster.totals().histogram.tolist()))
    assert counts[0] == counts[1] and sum(counts[0][0][0]) > 2000
