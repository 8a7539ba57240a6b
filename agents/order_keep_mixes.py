"""The constant mixes on the menu: of each source of load the one that `static-fast` would be calibrated to there.

The same tables and as many tries as `static-fast` has in the protocol, on the training part. A network is not told which
source it serves, so it has the mixes of all of them to choose from.
"""

from __future__ import annotations

from baselines.shortlist import shortlist, tables_of
from baselines.static_fast import FastStatic
from envs.loads import Loads, spread
from envs.scenario import Scenario

TRIED = 200
WINDOWS, INTERVALS = 12, 40
SEED = 1000  # of requests, as in calibration


def best_mix(scenario: Scenario, loaded: Loads, span_s: float) -> tuple[int, ...]:
    """Level of each candidate in the mix that earns most on the first `span_s` seconds of a load."""
    starts_s = dict.fromkeys(spread(span_s, INTERVALS * scenario.interval_s, WINDOWS, scenario.interval_s))
    tables = tables_of(scenario, loaded.loads, [(start_s, SEED) for start_s in starts_s], INTERVALS)
    return tuple(shortlist(FastStatic, tables, TRIED, 1)[0]["levels"])
