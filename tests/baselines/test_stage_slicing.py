"""Slices are the best there are, compared with all; by hand they are even; overheads are AlpaServe's sums."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from baselines.stage_slicing import equal_slices, overhead, slice_stages, stage_latencies


def every_slices(layers, stages):
    return [tuple(range(a, b) for a, b in pairwise((0, *inner, layers)))
            for inner in combinations(range(1, layers), stages - 1)]


@pytest.mark.parametrize("seed", range(20))
def test_no_slices_have_a_faster_slowest_stage(seed):
    dice = np.random.default_rng(seed)
    layer_s = dice.uniform(0, 1, dice.integers(1, 9)).tolist()
    for stages in range(1, len(layer_s) + 1):
        for receive_s in (None, dice.uniform(0, 1, (stages, len(layer_s))).tolist()):
            found = slice_stages(layer_s, stages, receive_s)
            assert [i for part in found for i in part] == list(range(len(layer_s))) and all(found) and len(found) == stages
            best = min(max(stage_latencies(layer_s, other, receive_s)) for other in every_slices(len(layer_s), stages))
            assert max(stage_latencies(layer_s, found, receive_s)) == pytest.approx(best, rel=1e-12)


def test_a_stage_takes_its_layers_and_what_it_receives():
    receive_s = [[9.0, 9.0, 9.0], [0.1, 0.2, 9.0]]
    assert stage_latencies([1.0, 2.0, 3.0], (range(2), range(2, 3)), receive_s) == pytest.approx((3.0, 3.2))
    assert stage_latencies([1.0, 2.0, 3.0], (range(3),), receive_s) == pytest.approx((6.0,))


def test_a_dear_hand_over_is_avoided():
    assert slice_stages([1.0, 1.0, 1.0, 1.0], 2) == (range(2), range(2, 4))
    assert slice_stages([1.0, 1.0, 1.0, 1.0], 2, [[0.0] * 4, [0.0, 5.0, 0.0, 0.0]]) == (range(1), range(1, 4))


@pytest.mark.parametrize(("layers", "stages", "ends", "sizes"), [
    (24, 8, 0, [3] * 8), (26, 8, 1, [4, 3, 3, 3, 3, 3, 3, 4]), (7, 3, 0, [3, 2, 2]), (5, 1, 1, [5]), (6, 4, 1, [2, 1, 1, 2])])
def test_by_hand_stages_have_as_many_layers(layers, stages, ends, sizes):
    found = equal_slices(layers, stages, ends)
    assert [len(part) for part in found] == sizes
    assert [i for part in found for i in part] == list(range(layers))


def test_overheads_are_counted_as_published():
    """Notebook of AlpaServe's artefact: 0.0996 s on one device; eight stages whose slowest x 8 is 0.1278 s."""
    found = overhead([0.0125] * 7 + [0.1278 / 8], 0.0996)
    assert found.communication_s == pytest.approx(7 * 0.0125 + 0.1278 / 8 - 0.0996)
    assert found.total_s == pytest.approx(0.1278 - 0.0996)
    assert overhead([0.04, 0.05], 0.1) == pytest.approx((0.0, 0.0))
    assert overhead([0.06, 0.06], 0.1) == pytest.approx((0.02, 0.0))


def test_more_stages_than_layers_are_refused():
    for call in (lambda: slice_stages([1.0] * 3, 4), lambda: slice_stages([1.0], 0), lambda: equal_slices(5, 4, 1)):
        with pytest.raises(ValueError, match="cannot be sliced into"):
            call()
