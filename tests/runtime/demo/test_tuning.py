"""The demonstration's policy: tuned on other load, better there than what is not, and what simpler rules would have had."""

import numpy as np
import pytest

from agents.registry import make
from runtime.demo import problem, tuning
from runtime.demo.timings import Timing


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TIDAL_TRACES", raising=False)
        timings = {name: Timing(s, 0.5, 10**8) for name, s in zip(problem.MODELS, (0.007, 0.019, 0.044))}
        return problem.write(tmp_path_factory.mktemp("demo"), timings, 40)


@pytest.mark.slow  # a kernel of its own is compiled for it
def test_what_would_have_been_is_what_the_arrivals_allow(written):
    """A burst of 40 requests at once, and nothing else: a constant pair of servers of 7 ms needs 20 x 7 ms for them."""
    settings = {name: {} for name in tuning.POLICIES} | {tuning.CONSTANT: {"levels": [0, 0, 2]}}
    due_s = np.full(40, 20.0) + np.arange(40) * 1e-6
    found = {would.policy: would for would in tuning.would_have(written.scenario, settings, due_s, 40.0)}
    constant = found[tuning.CONSTANT]
    assert constant.violation_ratio == 0.0 and constant.accuracy == pytest.approx(problem.ACCURACY["resnet18"])
    assert constant.core_s == pytest.approx(80.0, rel=0.05)
    late = tuning.would_have(written.scenario, settings | {tuning.CONSTANT: {"levels": [2, 0, 0]}}, due_s, 40.0)
    # 20 x 44 ms each, 0.4 s of which are in time: 9 of 20
    assert next(w for w in late if w.policy == tuning.CONSTANT).violation_ratio == pytest.approx(1 - 9 / 20, abs=0.05)


def test_the_policy_that_is_written_is_the_one_that_was_tuned(written, tmp_path):
    settings = {"order_margin": 2.0, "keep_memory": 8}
    folder = tuning.write_policy(tmp_path / "policy", written.scenario, tuning.BAND, {tuning.BAND: settings}, "a load")
    planner = make(str(folder), written.scenario).planner
    assert type(planner) is tuning.OverflowBand and not planner.finish_rollout
    assert planner.forecaster.order_margin == 2.0 and planner.forecaster.keep_memory == 8
