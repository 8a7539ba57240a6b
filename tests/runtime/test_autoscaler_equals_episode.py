"""Behind HTTP, Prometheus text and a control API, a policy sees and decides exactly what it does in a simulated episode."""


import numpy as np
import pytest
from autoscaling import PATIENCE_S, autoscaler, journaled, run
from simulated_service import TOKEN, FakeClock, Recorder, SimulatedService, serve, swelling_load

from agents import registry
from envs.envelope import Limits
from envs.episode import run_episode
from envs.scenario import Scrape
from envs.scenario_file import load
from runtime.actuators.cluster import ClusterActuator
from runtime.deployment_json import from_json
from runtime.sources.scrape import Scraper
from runtime.sources.source import PagedSource

LIMITS = Limits(max_rise=6, max_fall=4, change_window_s=90, fall_cooldown_s=60, panic_violation_ratio=0.05)


@pytest.mark.parametrize("name, policy, rps, limits, scrape", [
    ("resnet-variants", "infadapter", (30, 330), None, Scrape()),
    ("resnet-variants", "hpa", (30, 330), LIMITS, Scrape()),
    ("resnet-variants", "ppo", (30, 330), None, Scrape()),
    ("resnet-variants", "infadapter-fast", (30, 330), LIMITS, Scrape()),
    ("resnet-variants", "mpc", (30, 330), None, Scrape()),
    ("live-demo", "infadapter", (10, 110), None, Scrape(interval_s=0)),
    ("live-demo", "hpa", (10, 150), None, Scrape(interval_s=2, delay_s=0.5, window_intervals=3)),
    ("tenants", "hpa", (5, 200), None, Scrape()),
])
def test_observations_and_decisions_are_those_of_run_episode(name, policy, rps, limits, scrape, tmp_path):
    scenario, intervals, seed = load(name).with_(scrape=scrape), 20, 7
    loads = swelling_load(scenario, *rps)
    simulated = Recorder(registry.make(policy, scenario))
    episode = run_episode(scenario, simulated, loads, seed=seed, intervals=intervals, limits=limits)

    service, live = SimulatedService(scenario, loads, seed), Recorder(registry.make(policy, scenario))
    (tmp_path / "token").write_text(TOKEN + "\n")
    with serve(service) as url:
        scraper = Scraper([f"{url}/metrics"], PATIENCE_S)  # a machine that is held up misses no page
        actuator = ClusterActuator(url, tmp_path / "token", PATIENCE_S)
        clock = FakeClock(last_s=(intervals - 1) * scenario.interval_s, on_time=service.advance_to)
        source = PagedSource(scenario, scraper, scenario.interval_s)
        run(autoscaler(scenario, live, source, actuator, tmp_path / "journal", clock, limits=limits))
        scraper.close()
        actuator.close()

    assert len(live.seen) == len(simulated.seen)
    for one, other in zip(live.seen, simulated.seen):
        assert repr(one) == repr(other)  # nan is not equal to itself
    decisions = journaled(tmp_path / "journal")
    assert [d["t_s"] for d in decisions] == list(episode.decisions["t_s"])
    assert [str(from_json(d["deployment"])) for d in decisions] == list(episode.decisions["deployment"])
    assert [d["proposal"]["reason"] for d in decisions] == list(episode.decisions["reason"])
    assert ["; ".join(d["bounds"]) for d in decisions] == list(episode.decisions["notes"])
    service.advance_to(intervals * scenario.interval_s)
    service.cluster.finish()
    counted = service.cluster.totals().app_count.sum(0)
    assert int(counted[1]) == episode.totals["good"] and int(counted[1:6].sum()) == episode.totals["settled"]
    assert len(np.unique(episode.decisions["deployment"])) > 1  # or nothing was shown
