"""What is worked out on fixed cores, for CascadeServe's claim."""

import numpy as np

from reports.reproductions.cascadeserve import USED, fewest_cores

FAST, SLOW = (0.8, 0.01), (0.9, 0.1)


def test_fewest_cores_by_hand():
    """Two rates, 30 and 90 req/s: a quarter of the requests come at the lower one."""
    rates = np.array([30.0, 90.0])
    assert USED == 0.8
    assert fewest_cores([FAST, SLOW], rates, 0.8) == 2  # 90 x 0.01 / 0.8
    assert fewest_cores([FAST, SLOW], rates, 0.825) == 4  # slow at 30 req/s: 3 / 0.8, fast at 90
    assert fewest_cores([FAST, SLOW], rates, 0.826) == fewest_cores([SLOW], rates, 0.9) == 12  # 9 / 0.8
    assert fewest_cores([FAST, SLOW], rates, 0.95) is None


def test_more_to_choose_from_needs_no_more_cores():
    rates = np.random.default_rng(0).uniform(5, 100, 200)
    middle = (0.87, 0.04)
    for accuracy in (0.8, 0.82, 0.85, 0.88, 0.9):
        assert fewest_cores([FAST, middle, SLOW], rates, accuracy) <= fewest_cores([FAST, SLOW], rates, accuracy)
