"""Networks over proposals: moves and tables are those of the kernel, gradients are exact, decisions as they should be."""

import itertools
import json

import numpy as np
import pytest
import torch

from agents import registry
from agents.dagger import DaggerRun
from agents.manifest import AgentError
from agents.pid_lagrangian import PIDLagrangian
from agents.proposals import Moves, Proposals, moves_of
from agents.proposals_chain import choice, expected
from agents.proposals_export import read
from agents.proposals_features import MEMORY, features, windows
from agents.proposals_network import layers_of
from agents.proposals_policy import ProposalsNetwork
from agents.proposals_pool import covering, pool_of, situations
from agents.proposals_rules import minded, play
from agents.proposals_table import Window, draw_windows, turned
from agents.proposals_table import play as play_all
from agents.proposals_training import ProposalsRun
from agents.run_state import evaluations
from envs.cluster import SimulatedCluster
from envs.episode import run_episode
from envs.reward import pricing, terms
from envs.routes import deployment_of, hosting_of, share_out
from envs.scenario_file import load
from traces.samplers import POISSON, make_load

M, T = 4, 5
SWINGS = make_load(POISSON, 65 - 55 * np.cos(2 * np.pi * np.arange(600) / 60), 10.0)  # each ten minutes long


@pytest.fixture(scope="module")
def pool(scenario):
    return pool_of(scenario, np.ones((1, 1)), np.random.default_rng(0))


@pytest.fixture(scope="module")
def run(scenario, tmp_path_factory):
    """Trained on swings, where replicas are dear."""
    config = {"agent": "proposals", "selection": 0.3, "seed": 0, "steps": 20_000, "evaluate_every": 5_000, "export": None,
              "settings": {"windows": 12, "proposals": 6, "scale_low": 0.9, "scale_high": 1.1, "fitted": 10}}
    made = ProposalsRun(scenario.with_(episode_intervals=24, weights=scenario.weights.model_copy(update={"cost": 0.4})),
                        {"swings": {"classify": SWINGS}}, config, tmp_path_factory.mktemp("run"))
    assert made.learn()
    return made


@pytest.fixture(scope="module")
def folder(run):
    return run.folder / "best"


def tiny(seed):
    rng = np.random.default_rng(seed)
    late = rng.uniform(0, 1, (M, M)) * (1 - np.eye(M))
    moves = Moves(late, rng.uniform(0, 0.2, (M, M)))
    return rng.normal(0, 0.1, (2, T, M)), rng.uniform(0.5, 1.5, (2, T)), rng.normal(0, 0.1, (2, T, M)), moves


def earned(score, mind, value, moves, tau, start=None):
    start = torch.nn.functional.one_hot(torch.zeros(2, dtype=torch.int64), M).double() if start is None else start
    chosen = choice(score, mind, torch.tensor(minded(moves)), tau)
    course = expected(start, chosen, torch.tensor(moves.late), torch.tensor(moves.paid))
    return (course.served * torch.tensor(value)).sum(-1) - course.paid, course


def test_the_gradient_is_that_of_finite_differences():
    score, mind, value, moves = tiny(0)
    inputs = [torch.tensor(x, requires_grad=True) for x in (score, mind)]
    assert torch.autograd.gradcheck(lambda s, m: earned(s, m, value, moves, 0.1)[0].sum(), inputs)


def test_without_softness_it_earns_what_the_rule_does():
    score, mind, value, moves = tiny(1)
    found, course = earned(torch.tensor(score), torch.tensor(mind), value, moves, 1e-6)
    np.testing.assert_allclose(found, play(score, mind, minded(moves), moves, value), atol=1e-9)
    np.testing.assert_allclose(course.served.sum(-1), 1.0)


def test_the_value_is_the_mean_over_all_courses():
    score, mind, value, moves = tiny(2)
    tau, steps = 0.1, 3
    found, _ = earned(torch.tensor(score[:, :steps]), torch.tensor(mind[:, :steps]), value[:, :steps], moves, tau)
    logits = (score[0, :, None, :] - mind[0, :, None, None] * minded(moves)) / tau
    chance = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    total = 0.0
    for course in itertools.product(range(M), repeat=steps):
        weight, here, reward = 1.0, 0, 0.0
        for t, there in enumerate(course):
            weight *= chance[t, here, there]
            late = moves.late[here, there]
            reward += late * value[0, t, here] + (1 - late) * value[0, t, there] - moves.paid[here, there]
            here = there
        total += weight * reward
    assert float(found[0].sum()) == pytest.approx(total, abs=1e-12)


def test_moves_are_what_the_simulator_charges(scenario, pool, loads):
    moves, prices = moves_of(scenario, pool), pricing(scenario, scenario.kinds)
    weights = scenario.weights
    for before, after in [(0, 3), (3, 0), (5, 2), (4, 4), (1, len(pool) - 1)]:
        cluster = SimulatedCluster(scenario, loads, seed=0)
        for _ in range(2):
            cluster.apply(pool.deployment(before))
            cluster.advance()
        cluster.apply(pool.deployment(after))
        cluster.advance()
        found = terms(prices, cluster.last_truth, cluster.change_load_s, scenario.interval_s)
        charged = weights.cost * found.cost + weights.change * found.change
        assert moves.paid[before, after] == pytest.approx(float(charged), rel=0.02)  # what drains is held a little longer
        assert moves.late[before, after] <= scenario.variants["large"].load_s / scenario.interval_s
    assert (moves.late.diagonal() == 0).all() and (moves.extra >= -1e-12).all()


def test_loading_longer_than_an_interval_is_refused(scenario, pool):
    slow = scenario.with_(variants={n: v.model_copy(update={"load_s": 20.0}) for n, v in scenario.variants.items()})
    with pytest.raises(ValueError, match="longer than an interval"):
        moves_of(slow, pool)


def test_the_table_is_what_one_cluster_alone_earns(scenario, pool, loads):
    some = pool.some(np.array([0, 3, 6]))
    table = play_all(scenario, some, [Window(loads, 40.0, 1.0, 7)], 8)
    problem = some.problem(scenario)
    hosting, prices = hosting_of(problem), pricing(problem, problem.kinds)
    for entry in range(len(some)):
        cluster = SimulatedCluster(problem, loads, seed=7, offset_s=40.0)
        rps = np.full((1, 1), np.nan)
        for t in range(8):
            levels = some.counts[[entry if t else 0]]
            shares = share_out(hosting, levels, rps) if t else np.zeros((1, 1, len(some.kinds)))
            cluster.apply(deployment_of(problem, levels[0], shares[0]))
            rps = np.array([[cluster.advance().services["classify"].offered_rps]])
            found = terms(prices, cluster.last_truth, 0.0, scenario.interval_s)
            assert table.accuracy[0, t, entry] == found.accuracy and table.violation[0, t, entry] == found.violation
            assert table.rps[0, t, 0] == cluster.last_truth.offered_rps[0]


def test_few_proposals_cover_a_pool():
    worth = np.random.default_rng(0).random((40, 9))
    chosen = covering(worth, 4)
    assert chosen[0] == 0 and len(set(chosen)) == 4
    start = worth[:, 0].mean()
    best = max(worth[:, [0, *others]].max(1).mean() for others in itertools.combinations(range(1, 9), 3)) - start
    assert worth[:, chosen].max(1).mean() - start >= (1 - 1 / np.e) * best  # greedy: Nemhauser, Wolsey and Fisher 1978
    assert list(covering(np.tile([[1.0, 0.5]], (3, 1)), 2)) == [0]


def test_room_for_a_burst_is_proposed_though_it_is_never_best_in_hindsight():
    rng = np.random.default_rng(0)
    burst = rng.random(400) < 0.5
    worth = np.stack([np.where(burst, -1.0, 0.9), np.where(burst, 0.9, -1.0), np.full(400, 0.5)], 1)
    before = rng.uniform(5, 50, (400, 1))
    assert 2 not in covering(worth, 3)
    assert 2 in covering(situations(before, worth, rng), 2)


def test_a_pool_is_feasible_and_begins_with_what_is_deployed_at_first(scenario, pool):
    assert pool.deployment(0).replicas == scenario.initial_deployment.replicas
    assert len(pool) == 9  # one or two replicas on two cores, of three variants
    assert all(pool.deployment(e).units("cpu") <= 2 and pool.index(pool.deployment(e)) == e for e in range(len(pool)))


def test_a_pipeline_is_proposed_whole():
    video = load("video")
    pool = pool_of(video, np.ones((1, 1)), np.random.default_rng(0))
    assert len(pool) > 40
    for entry in range(len(pool)):
        deployment = pool.deployment(entry)
        hosted = {variant for kind in deployment.replicas for variant in kind.variants}
        assert all(hosted & set(service.variants) for service in video.services.values())
        assert deployment.units("core") <= video.devices["core"].budget


def test_what_was_never_seen_looks_like_a_constant_load():
    series = np.full((MEMORY + 5, 2), [40.0, 8.0])
    rows = features(windows(series), np.array([20.0, 8.0]))
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(rows[0, :-1], rows[-1, :-1], atol=1e-6)  # the last one tells how much is known
    assert rows[0, -1] < rows[-1, -1] == 1.0


def test_traces_meet_at_other_times(scenario):
    shift = load("alpaserve-shift")
    rates = np.arange(30.0)
    loads = {name: make_load(POISSON, rates, 300.0) for name in shift.applications}
    there = turned(shift, loads, np.random.default_rng(0))
    traces = {name: workload.trace for name, workload in shift.workload.items()}
    starts = {traces[name]: there[name].rate_rps[0] for name in shift.applications}
    assert all(there[name].rate_rps[0] == starts[traces[name]] for name in shift.applications)
    assert starts[traces["bert-6.7b-01"]] == 0.0 and len(set(starts.values())) > 2
    assert all(sorted(load_.rate_rps) == list(rates) for load_ in there.values())
    drawn = draw_windows(shift, [loads], 1, 2, (1.0, 1.0), np.random.default_rng(0), turn=False)
    assert drawn[0].loads is loads and drawn[0].scale == 1.0


def test_a_limit_on_violations_is_kept_to():
    price = PIDLagrangian(limit=0.02, price=1.0)
    for _ in range(400):
        price.update(0.1 * np.exp(-price.price))  # what a policy that minds them so much does
    assert 0.1 * np.exp(-price.price) == pytest.approx(0.02, rel=0.02)
    with pytest.raises(ValueError, match="limit"):
        PIDLagrangian(limit=2.0, price=1.0)


def test_it_learns_to_follow_the_load(run):
    table = run.selection["swings"]
    value = run.value(table, run.scenario.weights.slo)[:, 1:] - run.moves.paid.diagonal()
    assert run.best["reward"] > value.mean((0, 1)).max() + 0.01  # the best proposal for ever
    assert run.best["reward"] < value.max(-1).mean()  # the best one of each interval


def test_its_decisions_are_proposals_and_missing_observations_are_bridged(scenario, folder, run):
    lossy = scenario.with_(scrape=scenario.scrape.model_copy(update={"missing_ratio": 0.3}))
    episode = run_episode(lossy, ProposalsNetwork(folder), {"classify": SWINGS}, seed=1, intervals=60)
    assert episode.decisions["reason"].iloc[0] == "no load observed yet: unchanged"
    assert episode.decisions["detail_proposal"].nunique() > 1
    seen = episode.decisions["detail_proposal"].notna().to_numpy()
    assert seen[seen.argmax() :].all()  # from the first load that is counted on


def test_on_a_load_unlike_any_in_training_the_planner_decides(scenario, folder):
    loads = {"classify": make_load(POISSON, np.full(60, 4000.0), 5.0)}
    episode = run_episode(scenario, ProposalsNetwork(folder), loads, seed=1, intervals=6)
    assert episode.decisions["reason"].iloc[1:].str.contains("by the planner").all()


def test_it_is_found_by_folder_and_refuses_other_scenarios_and_weights(scenario, folder, tmp_path):
    made = registry.make(str(folder), scenario)
    assert isinstance(made, ProposalsNetwork) and made.learning in ("supervised", "reward-trained")
    with pytest.raises(AgentError, match="trained for 'live-demo'"):
        made.reset(load("resnet-variants"))
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "weights_sha256": "0" * 64}))
    with pytest.raises(AgentError, match="sha256"):
        read(tmp_path)


@pytest.mark.parametrize("pretrained", sorted(registry.PRETRAINED.glob("*-proposals-network")), ids=lambda path: path.name)
def test_a_pretrained_network_fits_its_scenario_and_its_card_names_its_weights(pretrained):
    policy = ProposalsNetwork(pretrained)
    scenario = load(policy.manifest.scenario)
    assert pretrained.name == f"{scenario.name}-proposals-network"
    assert policy.manifest.weights_sha256 in (pretrained / "README.md").read_text()
    registry.make("proposals-network", scenario).reset(scenario)


def test_proposals_are_told_apart_by_their_replicas(scenario):
    one, two = scenario.deployment([1, 0, 0]), scenario.deployment([0, 0, 2])
    found = Proposals.of([one, two, one])
    assert len(found) == 2 and found.deployment(1).replicas == two.replicas


def test_a_network_learns_a_teacher_by_its_own_mistakes(scenario, tmp_path):
    short = scenario.with_(episode_intervals=24)
    config = {"agent": "dagger", "selection": 0.3, "seed": 0, "steps": 200, "windows": 2, "export": None,
              "settings": {"teacher": "infadapter", "windows": 4, "passes": 30}}
    run = DaggerRun(short, {"swings": {"classify": SWINGS}}, config, tmp_path)
    assert run.learn()
    assert run.best["agreed"] > 0.6 and run.best["reward"] > run.best["teacher"] - 0.02
    manifest, network = read(tmp_path / "best")
    assert network.learning == "imitation" and manifest.training["settings"]["teacher"] == "infadapter"
    assert {lesson.taught for lesson in run.lessons} >= set(range(1, len(network.proposals)))  # all that was ever decided on


def stopped_and_resumed(monkeypatch, make, step, at, whole, folder):
    """The same as a whole run, stopped before one of its steps and gone on with by another process's object."""
    done, steps = getattr(type(whole), step), []

    def until(run, *arguments):
        steps.append(run)
        if len(steps) == at:
            raise KeyboardInterrupt
        return done(run, *arguments)

    monkeypatch.setattr(type(whole), step, until)
    assert not make(folder).learn()
    monkeypatch.setattr(type(whole), step, done)
    with pytest.raises(ValueError, match="not a checkpoint"):
        make(folder / "nothing").resume()
    again = make(folder)
    again.resume()
    assert 0 < again.steps < whole.steps and again.learn() and again.steps == whole.steps
    for mine, theirs in zip(layers_of(again.network), layers_of(whole.network)):
        np.testing.assert_array_equal(mine[0], theirs[0])
    rows = [[{k: v for k, v in row.items() if k != "cpu_s"} for row in evaluations(run.folder)] for run in (again, whole)]
    assert rows[0] == rows[1] and len(rows[0]) > 2


def test_a_run_that_was_stopped_goes_on_to_the_bit(scenario, run, tmp_path, monkeypatch):
    def make(folder):
        return ProposalsRun(run.scenario, {"swings": {"classify": SWINGS}}, run.config, folder)

    stopped_and_resumed(monkeypatch, make, "_update", run.updates - 1, run, tmp_path)


def test_teaching_that_was_stopped_goes_on_to_the_bit(scenario, tmp_path, monkeypatch):
    config = {"agent": "dagger", "selection": 0.3, "seed": 0, "steps": 200, "windows": 2, "export": None,
              "settings": {"teacher": "infadapter", "windows": 3, "passes": 3}}

    def make(folder):
        return DaggerRun(scenario.with_(episode_intervals=24), {"swings": {"classify": SWINGS}}, config, folder)

    whole = make(tmp_path / "whole")
    assert whole.learn()
    stopped_and_resumed(monkeypatch, make, "_fit", 3, whole, tmp_path / "stopped")
