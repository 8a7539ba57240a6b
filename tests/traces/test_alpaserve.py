"""AlpaServe's recipe against a plain restatement of its loop, and against published request counts."""

import numpy as np
import pytest

from traces.alpaserve import gamma_arrivals, split_rate, workload


def _restated(rate, cv, duration, seed):
    np.random.seed(seed)
    block = max(int(duration * rate * 1.2), 1)
    gaps = np.random.gamma(1 / cv**2, cv**2 / rate, size=block)
    ticks, place, now = [], 0, gaps[0]
    while now < duration:
        ticks.append(now)
        place += 1
        if place >= block:
            gaps = np.random.gamma(1 / cv**2, cv**2 / rate, size=block)
            place = 0
        now += gaps[place]
    return np.array(ticks)


@pytest.mark.parametrize(
    ("rate", "cv", "duration", "seed"),
    [(4.0, 1.0, 500.0, 0), (2.5, 4.0, 1000.0, 3), (0.01, 2.0, 300.0, 7), (30.0, 6.0, 50.0, 2)],
)
def test_arrivals_equal_the_loop_to_the_last_bit(rate, cv, duration, seed):
    np.testing.assert_array_equal(gamma_arrivals(rate, cv, duration, seed), _restated(rate, cv, duration, seed))


@pytest.mark.parametrize(
    ("total", "models", "cv", "duration", "requests"),
    [(4.0, 1, 1.0, 20_000.0, 80_235), (64.0, 16, 4.0, 1000.0, 65_283), (64.0, 32, 4.0, 1000.0, 65_008)],
)
def test_cases_have_the_request_counts_measured_on_the_published_code(total, models, cv, duration, requests):
    frame = workload(split_rate(total, models), cv, duration)
    assert len(frame) == requests
    assert (np.diff(frame["arrival_s"]) >= 0).all()
    assert set(frame["model"]) == set(range(models))


def test_models_draw_from_their_own_seed():
    rates = split_rate(10.0, 3, "uniform")
    frame = workload(rates, 2.0, 100.0, base_seed=5)
    for model in range(3):
        np.testing.assert_array_equal(
            frame.loc[frame["model"] == model, "arrival_s"], gamma_arrivals(rates[model], 2.0, 100.0, 5 + model)
        )


def test_laws_of_rates():
    np.testing.assert_allclose(split_rate(3.0, 4), 3.0 * np.arange(1, 5) ** -0.5 / (1 + 2**-0.5 + 3**-0.5 + 0.5))
    np.testing.assert_allclose(split_rate(6.0, 7, "triangle"), [2, 1, 1, 0.5, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(split_rate(6.0, 3, "uniform"), [2, 2, 2])
    with pytest.raises(ValueError, match="law"):
        split_rate(1.0, 2, "zipf")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="models"):
        split_rate(1.0, 0)
    with pytest.raises(ValueError, match="positive"):
        gamma_arrivals(0.0, 1.0, 10.0, 0)
