"""The exported order/keep network: torch's numbers by numpy, decisions that wait for what is ordered, the kernel's rewards."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from agents import registry
from agents.manifest import AgentError
from agents.network_policy import forward
from agents.order_keep_constants import Constants, calibrate
from agents.order_keep_export import Exported, export, read
from agents.order_keep_features import MEMORY, Question, history_features, names, windows
from agents.order_keep_menu import FAST_MARGIN, Menu, capacities, menu_of
from agents.order_keep_mixes import best_mixes
from agents.order_keep_network import band_of, layers_of, make_network
from agents.order_keep_policy import AlwaysConstants, AlwaysNetwork, OrderKeepNetwork
from agents.order_keep_response import Response, measure
from agents.order_keep_rules import Course, Levels, at_cold_start, base_of, levels_of, play
from agents.order_keep_sequences import Pool
from agents.order_keep_trust import doubt, outside, strange
from baselines.static import Static
from baselines.two_time_scales import TwoTimeScales
from envs.episode import run_episode
from envs.routes import hosting_of
from envs.scenario_file import load
from traces.samplers import GAMMA, make_load

INTERVALS = 40
PLACES = [0, 8, 14, 30, 34, 35, 45, 20]  # fewer deployments to play
PLANNER = {"fast_margin": 1.6}
COLD_STARTS_S = (7.0, 30.0, 60.0, 120.0, 300.0)
FEATURES = len(names()) - 3  # of the load
RATES = np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.25, 60)).clip(-1.2, 1.0)) * 90


@pytest.fixture(scope="module")
def scenario():
    return load("resnet-variants")


@pytest.fixture(scope="module")
def loads():
    return {"classify": make_load(GAMMA, RATES, 60.0, cv=1.0)}


@pytest.fixture(scope="module")
def whole_menu(scenario):
    return menu_of(scenario)


@pytest.fixture(scope="module")
def menu(whole_menu):
    return part_of(whole_menu, PLACES)


@pytest.fixture(scope="module")
def response(scenario, menu):
    return measure(scenario, menu.levels, menu.capacity_rps, repeats=1)


@pytest.fixture(scope="module")
def network(menu):
    torch.manual_seed(0)
    made = make_network(8, menu.families)
    with torch.no_grad():
        made[-1].weight.normal_(0, 0.2)
    return made


@pytest.fixture(scope="module")
def folder(network, scenario, menu, response, tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    made = Exported(layers_of(network), menu, response, np.full(FEATURES, -4.0), np.full(FEATURES, 4.0),
                    {load_s: Constants(1.4, 1, 1.8, 2, 0) for load_s in COLD_STARTS_S}, (6.0, 300.0), PLANNER,
                    dict.fromkeys(COLD_STARTS_S, -9.0))
    export(made, folder, scenario, {"seed": 0})
    return folder


def part_of(menu, some):
    return Menu(**{name: part[some][:, some] if name == "union_units" else part[some] for name, part in vars(menu).items()})


def untrained(menu, family):
    """What is exported of a network that corrects nothing yet, the constants of a family; and the network."""
    network, entries = make_network(8, menu.families), len(menu.levels)
    unknown = Response(np.array([0.1, 3.0]), np.array([0.5, 2.0]), menu.capacity_rps, *np.zeros((2, 2, 2, entries)))
    constants = {load_s: Constants(1.4, 1, 1.8, 2, family) for load_s in COLD_STARTS_S}
    return Exported(layers_of(network), menu, unknown, np.full(FEATURES, -4.0), np.full(FEATURES, 4.0), constants,
                    (6.0, 300.0), PLANNER, dict.fromkeys(COLD_STARTS_S, -9.0)), network


def slow(scenario, load_s):
    return scenario.with_(variants={name: v.model_copy(update={"load_s": load_s}) for name, v in scenario.variants.items()})


def entries_of(episode):
    return episode.decisions["detail_menu"].ffill().fillna(0).to_numpy(int)


def test_numpy_computes_what_torch_does(network, menu, folder):
    layers = read(folder)[1].layers
    rng = np.random.default_rng(0)
    seen, now = rng.normal(size=(500, layers[0][0].shape[1])).astype(np.float32), rng.uniform(0, 300, 500)
    base = base_of(rng.normal(size=500), rng.normal(size=500), 1, menu, now)
    with torch.no_grad():
        outputs = at_cold_start(network(torch.from_numpy(seen)), 80.0, COLD_STARTS_S)
        theirs = band_of(outputs, torch.from_numpy(now).float(), base)
    mine = levels_of(at_cold_start(forward(layers, seen), 80.0, COLD_STARTS_S), now, base)
    np.testing.assert_allclose(mine.order, theirs.order, atol=1e-5)
    np.testing.assert_allclose(mine.keep, theirs.keep, atol=1e-5)
    np.testing.assert_array_equal(mine.family.argmax(-1), theirs.family.argmax(-1))


def test_the_menu_is_feasible_and_begins_with_what_is_deployed_at_first(scenario, whole_menu):
    menu = whole_menu
    assert scenario.deployment(menu.levels[0]) == scenario.initial_deployment
    assert len({tuple(row) for row in menu.levels}) == len(menu.levels)
    budget = scenario.devices["cpu"].budget
    for row, units in zip(menu.levels, menu.units):
        assert scenario.deployment(row).units("cpu") == units <= budget
    for i, j in [(0, 1), (1, 0), (5, 20), (20, 5), (7, 7)]:
        old, new = (scenario.deployment(menu.levels[k]).replicas for k in (i, j))
        assert menu.union_units[i, j] == sum(k.shape.units for k in {*old, *new})
    assert menu.index(scenario, scenario.deployment(menu.levels[9]), last=0, family=0) == 9


def test_the_response_is_what_constant_deployments_earn_in_the_kernel(scenario, loads, menu, response):
    for entry, tolerance in ((4, 0.01), (5, 0.01), (6, 0.01), (7, 0.01), (0, 0.15)):  # the last is overloaded
        policy = TwoTimeScales(Static(levels=list(menu.levels[entry])), FAST_MARGIN)
        episode = run_episode(scenario, policy, loads, seed=3, intervals=INTERVALS)
        rows = episode.intervals
        kernel = (rows["accuracy"] - rows["violation_ratio"]).to_numpy()[2:]
        rps = rows["offered_rps"].to_numpy()
        assert response.earned(rps[1:-1], rps[2:], 1.0, 1.0)[:, entry].mean() == pytest.approx(kernel.mean(), abs=tolerance)


@pytest.mark.parametrize("load_s", [7.0, 75.0])
def test_a_course_by_the_response_earns_what_the_kernel_says(scenario, loads, menu, response, folder, load_s):
    changed = slow(scenario, load_s)
    episode = run_episode(changed, AlwaysNetwork(folder), loads, seed=5, intervals=INTERVALS)
    entries, rps = entries_of(episode), episode.intervals["offered_rps"].to_numpy()
    assert len(np.unique(entries)) > 1
    force = Levels(*(menu.log_rps[entries[1:]][None, :, None].repeat(3, 2) for _ in range(2)),
                   np.eye(3)[menu.family[entries[1:]]][None])
    course = Course(menu, Question(load_s, 0.05, 1.0), 0.001, 20.0, 30.0, np.zeros(1, np.int64))
    found = play(course, response, force, rps[None])
    assert found.mean() == pytest.approx(episode.intervals["reward"][1:].mean(), abs=0.03)


def test_nothing_is_decided_while_an_order_loads(scenario, loads, folder):
    episode = run_episode(slow(scenario, 75.0), AlwaysNetwork(folder), loads, seed=5, intervals=INTERVALS)
    changes = np.flatnonzero(np.diff(entries_of(episode)))
    assert len(changes) > 1 and np.diff(changes).min() >= 3


@pytest.mark.parametrize("way", ["untrained", "calm"])
def test_a_network_that_corrects_nothing_decides_as_the_constants_do(scenario, loads, folder, tmp_path, way):
    exported = read(folder)[1]
    untrained = [*exported.layers[:-1], tuple(0 * part for part in exported.layers[-1])]
    changed = {"untrained": {"layers": untrained}, "calm": {"calm": dict.fromkeys(COLD_STARTS_S, 9.0)}}[way]
    export(exported._replace(**changed), tmp_path, scenario, {})
    courses = [run_episode(slow(scenario, 75.0), policy(tmp_path), loads, seed=5, intervals=INTERVALS).decisions["deployment"]
               for policy in (AlwaysNetwork, AlwaysConstants)]
    assert courses[0].nunique() > 1 and (courses[0] == courses[1]).all()
    assert OrderKeepNetwork(tmp_path).learning == ("planner" if way == "calm" else "reward-trained")


def test_where_a_mix_is_liked_it_is_static_fast_until_something_is_learnt(scenario, loads, menu, tmp_path):
    """The mix is in the last family, alone; liked there, it is ordered at once and kept, load times and bursts or not."""
    levels = (10, 0, 9, 0, 0)
    whole = menu_of(scenario, [levels, levels])
    assert whole.families == 4 and [tuple(row) for row in whole.levels[whole.mixes]] == [levels]
    small = part_of(whole, [0, int(whole.mixes[0]), 10, 30, 40])
    made, network = untrained(small, 3)
    export(made, tmp_path, scenario, {})
    mine, theirs = (run_episode(slow(scenario, 75.0), policy, loads, seed=5, intervals=INTERVALS)
                    for policy in (AlwaysNetwork(tmp_path), TwoTimeScales(Static(levels=list(levels)), FAST_MARGIN)))
    assert (entries_of(mine)[1:] == 1).all() and mine.totals["reward"] == pytest.approx(theirs.totals["reward"], abs=0.003)
    with torch.no_grad():
        network[-1].bias[:] = 0.0
        network[-1].bias.view(5, 3, 4)[:, 0, 3] = 1.0  # the mix is to be left upwards, at every cold start
        network[-1].bias.view(5, 3, 4)[:, 2, 0] = 9.0  # for the first family
    export(made._replace(layers=layers_of(network)), tmp_path, scenario, {})
    left = run_episode(slow(scenario, 75.0), AlwaysNetwork(tmp_path), loads, seed=5, intervals=INTERVALS)
    assert (entries_of(left)[2:] != 1).any()


def test_a_mix_takes_nothing_from_the_rule(scenario, loads, menu, whole_menu, tmp_path):
    """A deployment to which the rule goes, and from which it comes away, is a mix too. Where the rule is liked, the network
    begins as the rule decides without mixes; where the mix is, it is kept, also by who has forgotten what was ordered."""
    both, mix = 2, len(PLACES)
    levels = tuple(menu.levels[both])
    whole = menu_of(scenario, [levels])
    np.testing.assert_array_equal(whole.levels, [*whole_menu.levels, levels])
    twice = part_of(whole, [*PLACES, len(whole.levels) - 1])

    def played(menu, family):
        export(untrained(menu, family)[0], tmp_path, scenario, {})
        return run_episode(slow(scenario, 75.0), AlwaysNetwork(tmp_path), loads, seed=5, intervals=INTERVALS)

    alone, beside = played(menu, 0), played(twice, 0)
    entries = entries_of(alone)
    assert (np.diff(entries)[entries[:-1] == both] != 0).any()
    np.testing.assert_array_equal(entries, entries_of(beside))
    assert (alone.decisions["deployment"] == beside.decisions["deployment"]).all()
    assert (entries_of(played(twice, 3))[1:] == mix).all()
    there = scenario.deployment(levels)
    assert [twice.index(scenario, there, last, family) for last, family in ((both, 3), (mix, 0), (0, 3), (0, 0))] == [
        both, mix, mix, both]


def test_the_mixes_suit_the_sources_that_they_come_from(scenario, monkeypatch):
    """A steady load wants what carries it and no more; one that triples in an interval and falls back, what carries that."""
    monkeypatch.setattr("agents.order_keep_mixes.SHORTLISTED", 2)
    steady, bursts = best_mixes(scenario, [np.full(50, 60.0), np.tile([50.0, 50.0, 150.0], 20)])
    carried = capacities(hosting_of(scenario), np.array([steady, bursts])).sum(1)
    assert 60 < carried[0] < 90 and 150 < carried[1] < 225


def test_calibration_finds_the_constants_that_earn_most(menu, response):
    rps = np.array([RATES[i : i + 41] for i in (0, 15)])
    pool = Pool(rps, history_features(windows(rps[:, :-1]), float(menu.capacity_rps.max())))
    found = calibrate([pool], lambda n: Course(menu, Question(75.0, 0.05, 1.0), 0.001, 20.0, 30.0, np.zeros(n, np.int64)),
                      response, np.random.default_rng(0))
    assert found != Constants(0.8, 1, 1.0, 2, 0)
    earned = [play(Course(menu, Question(75.0, 0.05, 1.0), 0.001, 20.0, 30.0, np.zeros(2, np.int64)), response,
                   constants.levels(pool.features, rps[:, :-1], menu), rps).mean()
              for constants in (found, Constants(0.8, 1, 1.0, 2, 0))]
    assert earned[0] > earned[1]


def test_what_lies_outside_the_range_of_training_is_strange():
    low, high = np.zeros(9), np.ones(9)
    assert strange(np.full(9, 2.0), low, high) and not strange(np.full(9, 0.5), low, high)
    question = Question(7.0, 0.05, 1.0)
    assert not outside(question, (6.0, 300.0))
    assert outside(question._replace(load_s=900.0), (6.0, 300.0)) and outside(question._replace(w_slo=50.0), (6.0, 300.0))


def test_outside_its_range_the_planner_decides(scenario, loads, folder):
    far = slow(scenario, 900.0)
    decisions = run_episode(far, OrderKeepNetwork(folder), loads, seed=5, intervals=12).decisions
    planner = run_episode(far, TwoTimeScales(**PLANNER), loads, seed=5, intervals=12).decisions
    assert decisions["reason"].iloc[1:].str.contains("outside the range").all()
    assert (decisions["deployment"] == planner["deployment"]).all()


def test_where_the_planner_was_ahead_it_decides(scenario, loads, folder, tmp_path):
    export(read(folder)[1]._replace(planned_s=(7.0,)), tmp_path, scenario, {})
    own, planner = (run_episode(slow(scenario, 9.0), policy, loads, seed=5, intervals=12).decisions
                    for policy in (OrderKeepNetwork(tmp_path), TwoTimeScales(**PLANNER)))
    assert (own["deployment"] == planner["deployment"]).all() and "near 7 s" in own["reason"].iloc[-1]
    policy = OrderKeepNetwork(tmp_path)
    assert policy.learning == "reward-trained"
    for load_s, learning in ((9.0, "planner"), (60.0, "reward-trained")):
        policy.reset(slow(scenario, load_s))
        assert policy.learning == learning
    network, still = read(tmp_path)[1], np.zeros(FEATURES)
    assert doubt(network, still, Question(9.0, 0.05, 1.0)) and not doubt(network, still, Question(40.0, 0.05, 1.0))


def test_missing_and_stale_observations_are_bridged(scenario, loads, folder):
    lossy = scenario.with_(scrape=scenario.scrape.model_copy(update={"missing_ratio": 0.3, "stale_ratio": 0.2}))
    episode = run_episode(lossy, OrderKeepNetwork(folder), loads, seed=2, intervals=INTERVALS)
    assert episode.decisions["reason"].iloc[0] == "no load observed yet: unchanged"
    assert np.isfinite(episode.totals["reward"])


def test_what_was_never_seen_looks_like_a_constant_load():
    series = np.full(MEMORY + 5, 40.0)
    rows = history_features(windows(series), 400.0)
    known = history_features(np.full(MEMORY, 40.0), 400.0)
    others = [i for i in range(rows.shape[1]) if i != rows.shape[1] - 2]  # all but how much is known
    np.testing.assert_allclose(rows[0, others], known[others], atol=1e-6)
    np.testing.assert_allclose(rows[-1], known, atol=1e-6)
    assert np.isfinite(history_features(np.array([*[np.nan] * (MEMORY - 1), 0.0]), 400.0)).all()


def test_it_is_found_by_folder_and_imports_are_light(folder, scenario):
    assert isinstance(registry.make(str(folder), scenario), OrderKeepNetwork)
    code = (f"import sys; from agents import registry; from envs.scenario_file import load; "
            f"registry.make({str(folder)!r}, load('resnet-variants')).reset(load('resnet-variants')); "
            "print([m for m in ('torch', 'stable_baselines3') if m in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_it_refuses_other_weights_and_other_scenarios(folder, tmp_path):
    with pytest.raises(AgentError, match="trained for 'resnet-variants'"):
        OrderKeepNetwork(folder).reset(load("live-demo"))
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    stored = bytearray((tmp_path / "weights.safetensors").read_bytes())
    stored[-1] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(bytes(stored))
    with pytest.raises(AgentError, match="sha256"):
        OrderKeepNetwork(tmp_path)
    with pytest.raises(AgentError, match="not the folder"):
        OrderKeepNetwork(tmp_path / "nothing")


@pytest.mark.parametrize("pretrained", sorted(registry.PRETRAINED.glob("*-order-keep-network")), ids=lambda path: path.name)
def test_a_pretrained_network_fits_its_scenario_and_its_card_names_its_weights(pretrained):
    manifest, exported = read(pretrained)
    made = load(manifest.scenario)
    assert pretrained.name == f"{made.name}-order-keep-network"
    assert manifest.weights_sha256 in (pretrained / "README.md").read_text()
    mixes = [tuple(row.tolist()) for row in exported.menu.levels[exported.menu.mixes]]
    np.testing.assert_array_equal(exported.menu.levels, menu_of(made, mixes).levels)
    registry.make("order-keep-network", slow(made, 90.0)).reset(slow(made, 90.0))
