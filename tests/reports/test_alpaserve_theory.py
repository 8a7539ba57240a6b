"""AlpaServe's queueing theory: bounds as tabulated, roots equal to closed forms, and few requests near the curves."""

import pytest

from reports.reproductions import alpaserve_theory
from reports.reproductions.alpaserve_theory import EXAMPLE, LOADS, UTILISATIONS, most_communication, most_imbalance

COMMUNICATION = {0.01: 1.0013, 0.5: 1.0692, 1.0: 1.1315, 1.25: 1.1365, 1.5: 1.1111, 1.75: 1.0610, 1.9: 1.0249}
IMBALANCE = {0.01: 1.4127, 0.5: 1.3333, 1.0: 1.2361, 1.25: 1.1813, 1.5: 1.1231, 1.75: 1.0623, 1.9: 1.0250}


@pytest.mark.parametrize("load", LOADS)
def test_bounds_are_those_of_figure_10(load):
    assert most_communication(load) == pytest.approx(COMMUNICATION[load], abs=5e-5)
    assert most_imbalance(load) == pytest.approx(IMBALANCE[load], abs=5e-5)


def test_rows_are_near_what_is_published(monkeypatch):
    """With an eighth of the requests, and a quarter of the seeds: curves within 3 %, bounds to rounding, ratios all there."""
    monkeypatch.setattr(alpaserve_theory, "REQUESTS", 60_000)
    monkeypatch.setattr(alpaserve_theory, "EXAMPLE_SEEDS", range(5))
    rows = list(alpaserve_theory.rows())
    bounds = [row for row in rows if row.figure in ("communication", "imbalance")]
    assert len(bounds) == 2 * len(LOADS) and all(abs(row.difference) < 1e-8 for row in bounds)
    curves = [row for row in rows if row.case.startswith("utilisation")]
    assert len(curves) == 2 * len(UTILISATIONS) and all(abs(row.difference) < 0.03 * row.theirs for row in curves)
    ratios = {row.case: row for row in rows if row.case in EXAMPLE and row.figure == "replayed"}
    assert len(ratios) == 3 and all(row.ours > 1 for row in ratios.values())
    assert ratios["equal shares, Poisson"].reached
