"""The learned quantile forecaster: numpy against torch, properties, training on loads whose quantiles are known."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from agents.manifest import AgentError
from agents.quantile_forecaster import FEATURES, LEADS, LEVELS, MEMORY, LearnedQuantiles, features, run, write
from agents.quantile_scores import scores, table
from agents.quantile_training import Network, Series, drawn, lessons, pinball, train
from envs.scenario_file import load


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    made = tmp_path_factory.mktemp("forecaster")
    write(made, Network().weights(), 10.0, 30.0, {"traces": ["made"]})
    return made


@pytest.fixture
def learned(folder):
    found = LearnedQuantiles(folder)
    found.reset(load("resnet-variants"), "classify", 11)
    return found


RNG = np.random.default_rng(0)
HISTORY = RNG.uniform(50, 150, MEMORY)


def test_numpy_and_torch_say_the_same():
    torch.manual_seed(1)
    network, inputs = Network(), RNG.normal(size=(40, FEATURES)).astype(np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(inputs)).numpy()
    assert run(network.weights(), inputs) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("seen", [1, 2, 13, 100, 5000])
def test_quantiles_rise_and_are_finite_however_short_the_history(learned, seen):
    found = learned.quantiles(RNG.uniform(0, 200, seen))
    assert found.shape == (11, len(LEVELS)) and np.isfinite(found).all() and (found > 0).all()
    assert (np.diff(found, axis=1) >= 0).all()


def test_loads_of_zero_are_no_trouble(learned):
    assert np.isfinite(learned.quantiles(np.zeros(30))).all()


def test_only_the_last_intervals_count_and_they_do(learned):
    longer = np.concatenate([RNG.uniform(0, 500, 50), HISTORY])
    assert (learned.quantiles(longer) == learned.quantiles(HISTORY)).all()
    changed = HISTORY.copy()
    changed[0] += 50
    assert (learned.quantiles(changed) != learned.quantiles(HISTORY)).any()


def test_leads_between_those_trained_are_interpolated_and_later_ones_stay(learned):
    learned.reset(load("resnet-variants"), "classify", 30)
    found = np.log(learned.quantiles(HISTORY))
    assert found[4] == pytest.approx((found[3] + found[5]) / 2) and 5 not in LEADS  # leads 4, 5, 6
    assert (found[LEADS[-1] - 1 :] == found[LEADS[-1] - 1]).all()


def test_the_size_of_the_load_matters_only_through_the_count():
    """Twice the load in half the interval: the same requests, the same features but for the interval's length."""
    one, other = features(HISTORY[None], 30.0)[0], features(2 * HISTORY[None], 15.0)[0]
    assert one[:-1] == pytest.approx(other[:-1], abs=1e-6) and one[-1] != other[-1]


def test_what_was_not_seen_is_missing_not_zero():
    seen = np.full((1, MEMORY), np.nan)
    seen[0, -5:] = 100.0
    same = features(np.full((1, MEMORY), 100.0), 30.0)[0]
    short = features(seen, 30.0)[0]
    half = (FEATURES - 2) // 2
    assert (short[:half] == 0).all() and (same[:half] == 0).all()  # no change in either
    assert short[half : 2 * half].sum() == 4 and same[half : 2 * half].sum() == half


def test_lessons_are_what_came():
    series = Series(np.arange(1.0, 400.0), 30.0)
    found = lessons(series, np.array([200]), np.array([3]))
    assert found.targets[0] == pytest.approx(np.log((200 + np.array(LEADS)) / 200), abs=1e-6)
    assert found.inputs[0, :2] == pytest.approx(np.log(np.array([199, 198]) / 200), abs=1e-6)
    assert found.inputs[0, 2] == 0 and found.inputs[0, (FEATURES - 2) // 2 + 2] == 0


def test_the_loss_is_least_at_the_true_quantiles():
    targets = torch.from_numpy(np.random.default_rng(1).normal(size=(4000, len(LEADS)))).float()
    true = torch.from_numpy(stats.norm.ppf(LEVELS)).float().expand(4000, len(LEADS), -1)
    assert all(pinball(true, targets) < pinball(true + shift, targets) for shift in (-0.2, 0.2))


def test_training_finds_quantiles_that_are_known():
    """Independent loads, log-normal around 100: relative to any last load, the next are around 100 again."""
    rng = np.random.default_rng(2)
    series = [Series(100 * np.exp(0.2 * rng.normal(size=3000)), 30.0) for _ in range(2)]
    network = train(series, [Series(100 * np.exp(0.2 * rng.normal(size=3000)), 30.0)], steps=300)
    judged = drawn([Series(100 * np.exp(0.2 * rng.normal(size=6000)), 30.0)], 3000, rng)
    below = judged.targets[..., None] <= run(network.weights(), judged.inputs)
    assert below.mean((0, 1)) == pytest.approx(LEVELS, abs=0.06)
    with torch.no_grad():
        loss = float(pinball(network(torch.from_numpy(judged.inputs)), torch.from_numpy(judged.targets)))
    last = -judged.targets.mean(1)  # log(last / 100), nearly
    true = stats.norm.ppf(LEVELS) * 0.2 - last[:, None]
    best = float(pinball(torch.from_numpy(np.repeat(true[:, None], len(LEADS), 1)).float(), torch.from_numpy(judged.targets)))
    assert loss < 1.25 * best


@pytest.mark.parametrize(("spoil", "told"), [
    (lambda folder: (folder / "manifest.json").unlink(), "no manifest.json"),
    (lambda folder: (folder / "manifest.json").write_text("{}"), "not a quantile forecaster"),
    (lambda folder: (folder / "manifest.json").write_text(
        json.dumps({**json.loads((folder / "manifest.json").read_text()), "format": 9, "new": 1})), "format 9, here 1; us"),
    (lambda folder: (folder / "weights.safetensors").write_bytes(b"nothing"), "not a quantile forecaster"),
])  # fmt: skip
def test_a_folder_that_cannot_be_used_says_why(tmp_path, spoil, told):
    write(tmp_path, Network().weights(), 10.0, 30.0, {})
    spoil(tmp_path)
    with pytest.raises(AgentError, match=told):
        LearnedQuantiles(tmp_path)


def test_an_interval_that_was_not_trained_is_refused(folder):
    with pytest.raises(AgentError, match="intervals of 10 to 30 s, not 300 s"):
        LearnedQuantiles(folder).reset(load("resnet-variants").with_(interval_s=300.0), "classify", 3)


def test_scores_on_a_generated_load(folder, monkeypatch):
    """The exact quantiles of Poisson counts cover what they say; an untrained network is beaten by the last value."""
    from agents import quantile_scores

    def made(trace, split, mean_rps, interval_s, rng):
        return Series(rng.poisson(100.0 * interval_s, 2000) / interval_s, interval_s)

    monkeypatch.setattr(quantile_scores, "counted", made)
    monkeypatch.setattr(quantile_scores, "STRETCHES", 3)
    monkeypatch.setattr(quantile_scores, "POINTS", {"ewm": quantile_scores.POINTS["ewm"]})
    found = scores(LearnedQuantiles(folder), ["made"])
    ewm = [s for s in found if s.name == "ewm"]
    assert all(s.coverage[0.9] == pytest.approx(0.9, abs=0.06) for s in ewm)
    levels = stats.norm.ppf(LEVELS)
    exact = np.mean([np.mean(np.maximum(d * LEVELS, d * (LEVELS - 1))) for z in np.random.default_rng(0).normal(size=20_000)
                     for d in [z - levels]]) * 100 / np.sqrt(3000)  # of a normal with the Poisson's spread, in percent
    assert all(s.pinball_percent == pytest.approx(exact, rel=0.2) for s in ewm)
    assert all(s.pinball_percent > 3 * exact for s in found if s.name == "learned")
    assert table(found).row_count == len(quantile_scores.LEADS)
