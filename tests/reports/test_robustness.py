"""Troubles are what they say, nobody is told of them, and the matrix is what subtraction gives."""

import json

import numpy as np
import pytest

import evaluate
from envs.cluster import SimulatedCluster
from envs.clusters import Clusters
from envs.contract import Decision, Policy
from envs.digest import digest
from envs.episode import run_episode
from envs.interference import Spells
from envs.scenario import Interference
from envs.scenario_file import load
from envs.state import BINS_PER_SLO
from reports.robustness.disturbances import CROWD, DISTURBANCES, NONE, crowd, named, regime
from reports.robustness.matrix import matrix, verdict
from reports.robustness.play import Cell
from traces.load import POISSON, RECORDED, make_load
from traces.modulated import modulated


@pytest.fixture(scope="module")
def scenario():
    return load("resnet-variants")


def steady(rps, span_s=3600.0):
    return make_load(POISSON, np.full(int(span_s / 60), float(rps)), 60.0)


def test_a_modulated_load_is_the_rate_times_the_factor():
    found = modulated(steady(10, 120), lambda t_s: np.where(t_s < 30, 2.0, 0.5), finest_s=7.0)
    assert found.bin_s == pytest.approx(60 / 9) and found.rate_rps.size == 18
    assert found.rate_rps.tolist() == [20.0] * 5 + [5.0] * 13 or found.rate_rps.tolist() == [20.0] * 4 + [5.0] * 14
    assert modulated(steady(10, 120), lambda t_s: np.ones(t_s.size), 60.0).rate_rps.tolist() == [10.0, 10.0]
    with pytest.raises(ValueError, match="recorded arrivals"):
        modulated(make_load(RECORDED, recorded_s=np.zeros(1)), lambda t_s: t_s)
    with pytest.raises(ValueError, match="at least 0"):
        modulated(steady(1), lambda t_s: -t_s)


def test_a_crowd_comes_and_goes_and_a_regime_stays():
    t_s = np.array([0.0, 1199.0, 1230.0, 1260.0, 1560.0, 2160.0, 3599.0])
    np.testing.assert_allclose(crowd(t_s, 3600.0), [1, 1, 1 + (CROWD - 1) / 2, CROWD, CROWD, 1, 1])
    assert regime(np.array([0.0, 1799.0, 1800.0, 3599.0]), 3600.0).tolist() == [1, 1, 2, 2]
    twice = named("regime change").loads({"a": steady(10, 7200)}, (0.0, 3600.0), 3600.0)["a"]
    assert twice.rate_rps.reshape(4, -1).mean(1).tolist() == [10, 20, 10, 20]  # in every window


def test_spells_take_their_share_of_time_and_are_the_same_however_they_are_asked():
    told = Interference(slowdown=2.0, calm_s=30.0, lasts_s=10.0)
    spells, t, slow = Spells(told, seed=3), 0.0, 0.0
    edges = []
    while t < 400_000:
        factor, until = spells.at(t)
        slow += (until - t) * (factor == 2.0)
        edges.append(until)
        t = until
    assert slow / t == pytest.approx(0.25, abs=0.01)  # lasts / (lasts + calm)
    backwards = Spells(told, seed=3)
    assert [backwards.at(e - 1e-9)[1] for e in edges[200::-1]] == edges[200::-1]
    assert Spells(told, seed=4).at(0.0)[1] != edges[0]


def test_a_neighbour_makes_batches_as_much_slower_as_it_says(scenario):
    """Hardly any load, so that nobody waits: latencies are service times, and all of them with a spell that never ends."""
    calm = scenario.profile.latency_s("resnet50", scenario.kinds[0].shape.__class__(cores=13), 1)[0]
    for slowdown in (1.0, 1.5):
        world = scenario.with_(interference=Interference(slowdown=slowdown, calm_s=1e-9, lasts_s=1e9))
        cluster = SimulatedCluster(world, {"classify": steady(1.0)}, seed=1)
        for _ in range(4):
            cluster.apply(scenario.initial_deployment)
            cluster.advance()
        assert cluster.last_truth.quantiles_s[0, 0] == pytest.approx(slowdown * calm, abs=0.75 / BINS_PER_SLO)


def test_neighbours_come_and_go_at_any_time_without_a_request_lost(scenario):
    world = scenario.with_(interference=Interference(slowdown=3.0, calm_s=7.0, lasts_s=3.0))
    found = [run_episode(w, Keeps(), {"classify": steady(60.0)}, seed=2, intervals=10) for w in (scenario, world)]
    assert found[0].totals["settled"] == found[1].totals["settled"] > 15_000
    assert found[1].totals["p50_s"] >= found[0].totals["p50_s"] and found[1].totals["p99_s"] > 1.5 * found[0].totals["p99_s"]


class Keeps(Policy):
    """Keeps what it began with, and notes what it is told and sees."""

    def reset(self, scenario):
        self.told, self.seen = scenario, []

    def decide(self, observation):
        self.seen.append(observation)
        return Decision(self.told.initial_deployment, "")


def test_many_clusters_at_once_have_no_neighbour(scenario):
    world = scenario.with_(interference=Interference(slowdown=2.0, calm_s=1.0, lasts_s=1.0))
    with pytest.raises(ValueError, match="one cluster at a time"):
        Clusters(world, {"classify": steady(1.0)}, 2)


def test_nobody_is_told_of_a_trouble(scenario):
    for trouble in DISTURBANCES:
        world, policy = trouble.world(scenario), Keeps()
        assert (digest(world) != digest(scenario)) == (trouble.group != "load")
        run_episode(world, policy, {"classify": steady(20.0)}, seed=0, intervals=2, told=scenario)
        assert policy.told is scenario
        assert policy.seen[0].load_s == {name: v.load_s for name, v in scenario.variants.items()}, trouble.name
    assert digest(NONE.world(scenario)) == digest(scenario)


def test_slow_starts_take_as_long_as_they_say_and_are_seen_when_measured(scenario):
    world = scenario.with_(failures=scenario.failures.model_copy(update={"load_factor": 10.0}))
    cluster = SimulatedCluster(world, {"classify": steady(20.0)}, seed=0)
    kind = scenario.kinds[0]
    cluster.apply(type(scenario.initial_deployment)({**scenario.initial_deployment.replicas, kind: 1}))
    seen = [cluster.advance() for _ in range(4)]
    ready = [o.kinds[kind].ready for o in seen]
    assert ready == [0, 0, 1, 1] and 60 < 10 * scenario.load_s(kind) < 90  # within the third interval of 30 s
    assert seen[1].load_s["resnet18"] == 6.44 and seen[3].load_s["resnet18"] == pytest.approx(64.4)


def cells(rewards, kinds):
    return [
        Cell(policy, trouble, kinds[policy], tuple({"start_s": 60.0 * i, "seed": 0, "reward": r, "violation_ratio": 0.1 * i}
                                                  for i, r in enumerate(row)))
        for trouble, by in rewards.items() for policy, row in by.items()
    ]  # fmt: skip


def test_a_loss_is_the_difference_on_the_same_windows():
    calm = {"agent": [0.7, 0.5, 0.6], "plan": [0.6, 0.6, 0.6], "oracle": [0.8, 0.8, 0.8]}
    rewards = {
        "undisturbed": calm,
        "slow starts": {"agent": [0.6, 0.4, 0.5], "plan": [0.2, 0.2, 0.2], "oracle": [0.8, 0.8, 0.8]},
        "load × 2": {"agent": [0.1, 0.1, 0.1], "plan": [0.5, 0.5, 0.5], "oracle": [0.7, 0.7, 0.7]},
    }
    kinds = {"agent": "reward-trained", "plan": "planner", "oracle": "hindsight"}
    found = matrix(cells(rewards, kinds), np.random.default_rng(0))
    assert found.policies == ("plan", "agent", "oracle")
    assert found.losses["slow starts", "agent"].loss.value == pytest.approx(0.1)
    assert found.losses["load × 2", "agent"].loss.value == pytest.approx(0.5)
    assert found.mean_loss["agent"].value == pytest.approx(0.3) and found.mean_loss["plan"].value == pytest.approx(0.25)
    assert found.best("slow starts") == "agent" and found.best("load × 2") == "plan"  # hindsight is nobody's
    said = verdict(found)
    assert said[0].startswith("plan loses least: 0.2500") and "earns most under them" in said[0]
    assert "ahead under slow starts; behind under load × 2" in said[1]
    with pytest.raises(ValueError, match="not played undisturbed: plan"):
        rest = [c for c in cells(rewards, kinds) if (c.policy, c.disturbance) != ("plan", "undisturbed")]
        matrix(rest, np.random.default_rng(0))


def test_one_command_makes_table_page_and_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    some = [d for d in DISTURBANCES if d.name in ("load × 4", "models 20 % faster", "worker failures", "metrics stale")]
    monkeypatch.setattr("reports.robustness.command.DISTURBANCES", some)
    words = ["--robustness", "--policies", "static,hpa", "--windows", "3", "--intervals", "4", "--json", "r.json"]
    assert evaluate.main(words) == 0
    document = json.loads((tmp_path / "r.json").read_text(), parse_constant=lambda c: pytest.fail(c))
    losses = {(r["disturbance"], r["policy"]): r["value"] for r in document["rows"] if r["figure"] == "loss of reward"}
    assert set(losses) == {(d.name, p) for d in some for p in ("static", "hpa")}
    assert losses["load × 4", "static"] > 0.05 and losses["models 20 % faster", "static"] < 0.001
    page = (tmp_path / "out/robustness.html").read_text()
    assert all(d.name in page for d in some) and "<script src" not in page and len(page) < 200_000
    assert "static" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "told"), [
    (["--policies", "nobody"], "no policy 'nobody'"),
    (["--reference", "hpa"], "--reference does not go with --robustness"),
    (["--trace", "nowhere/x.csv"], "no such file"),
])  # fmt: skip
def test_a_mistake_is_one_line(words, told, capsys):
    assert evaluate.main(["--robustness", "--no-report", *words]) == 2
    assert told in capsys.readouterr().err.strip().splitlines()[-1]
