"""The compiled kernel and the plain Python reference agree to the last bit, whatever features are mixed."""

import os

import numpy as np
import pytest
from cases import Case, extra_kinds, play, random_case
from reference import Reference

from envs import state as st
from envs.cluster import SimulatedCluster
from envs.kernel import Flags
from traces.samplers import RECORDED, make_load


class Played(SimulatedCluster):
    """The simulated cluster with the reference's interface: run to any time, then finish."""

    def __init__(self, case: Case, seed: int):
        loads = {name: make_load(RECORDED, recorded_s=np.array(times)) for name, times in case.arrivals.items() if len(times)}
        super().__init__(case.scenario, loads, seed=seed, record=True, kinds=extra_kinds(case))

    def _features(self):
        """Every feature, so that two compilations (late and early) serve all cases."""
        needed = super()._features()
        everything = Flags(*(True for _ in Flags._fields))
        return everything._replace(EARLY=needed.EARLY, PREDICT=needed.EARLY, ONE_QUEUE=False)

    def run(self, t_end):
        counts = self._arrivals(t_end)
        self._kernel.run(self.model, self.state, self._times, counts, np.zeros_like(counts), t_end)
        self._keep_records()
        self.t_s = t_end
        self._truth = self._sample(t_end)

    def gauges(self):
        sample = self._sample(self.t_s)
        kinds = {kind: {"ready": int(sample.ready[k]), "pending": int(sample.pending[k]),
                        "draining": int(sample.draining[k]), "queue": int(sample.kind_waiting[k])}
                 for k, kind in enumerate(self.kinds)}
        return {"kinds": kinds, "services": {z: {"queue": int(n)} for z, n in zip(self.scenario.services, sample.service_waiting)}}

    def counters(self):
        s = self._truth
        columns = ("offered", "good", "late", "rejected", "dropped", "failed", "accuracy_ppb")
        return {
            "applications": {name: {**dict(zip(columns, s.app_count[a].tolist())), "histogram": s.histogram[a].tolist()}
                             for a, name in enumerate(self.scenario.applications)},
            "services": {name: {"offered": int(n)} for name, n in zip(self.scenario.services, s.service_offered)},
            "kinds": {kind: dict(zip(("held_ns", "ready_server_ns", "busy_ns"), s.kind_ns[k].tolist()))
                      for k, kind in enumerate(self.kinds)},
        }


def compare(case: Case, seed: int) -> None:
    """Every fate, every counter and every gauge on the way must be equal, not nearly equal."""
    theirs = Reference(case.scenario, case.arrivals, seed, extra_kinds(case))
    ours = Played(case, seed)
    stops = sorted({t for t, _ in case.deployments} | set(np.arange(3.0, case.t_end, 3.0)) | {case.t_end})
    for t in stops:
        for cluster in (theirs, ours):
            cluster.run(t)
        assert ours.gauges() == theirs.gauges(), f"gauges at {t}"
        assert ours.counters() == theirs.counters(), f"counters at {t}"
        for at, deployment in case.deployments:
            if at == t:
                theirs.apply(deployment)
                ours.apply(deployment)
    theirs.finish()
    ours.finish()
    expected = sorted((a, n, fate, t, v if fate in ("good", "late") else "") for a, n, fate, t, v in theirs.records)
    mine = sorted(ours.records().itertuples(index=False, name=None))
    assert mine == expected
    theirs_counters, ours_counters = theirs.counters(), ours.counters()
    assert ours_counters["applications"] == theirs_counters["applications"]
    assert ours_counters["services"] == theirs_counters["services"]


CASES = int(os.environ.get("TIDAL_CASES", "40"))


@pytest.mark.parametrize("seed", range(CASES))
def test_kernel_and_reference_agree_on_everything(seed):
    compare(random_case(seed), seed)
