"""Another form of the scenario under a running autoscaler: what is taken up, from when on, and what needs a restart."""

import signal
import threading

import pytest
from autoscaling import autoscaler, host, journaled
from running import Processes
from simulated_service import FakeClock
from test_autoscaler_process import SCENARIO, Steady

from envs.contract import Decision, Policy
from envs.digest import digest
from envs.envelope import Limits
from envs.scenario import Application, Device, Service, Weights
from envs.scenario_file import FOLDER, find
from runtime.actuators.dry_run import DryRun
from runtime.autoscaler.live_scenario import needs_restart
from runtime.autoscaler.reload import Setup
from runtime.deployment_json import from_json

SERVICES = SCENARIO.services
LARGER = SCENARIO.with_(devices={"cpu": Device(budget=3)},
                        candidates=tuple(c.model_copy(update={"max_count": 3}) for c in SCENARIO.candidates))
SMALLER = LARGER.with_(devices={"cpu": Device(budget=2, price=0.5)}, currency="EUR", weights=Weights(slo=3))
THREE, MIXED = LARGER.deployment((3, 0, 0)), LARGER.deployment((1, 0, 2))


class Wishing(Policy):
    """Three cores, whatever the budget; says what it was told of violations' weight."""

    memory_intervals = 1

    def reset(self, scenario):
        self._told, self._wish = f"w_slo {scenario.weights.slo:g}", THREE if scenario.devices["cpu"].budget > 2 else MIXED

    def decide(self, observation):
        return Decision(self._wish, self._told)


@pytest.mark.parametrize("changes", [
    {"weights": Weights(cost=0.5)}, {"devices": {"cpu": Device(budget=7, price=2.0)}, "currency": "USD"},
    {"services": {"classify": Service(variants=SERVICES["classify"].variants, slo_s=0.5)}},
    {"candidates": tuple(c.model_copy(update={"max_count": 1}) for c in SCENARIO.candidates)},
    {"variants": {name: v.model_copy(update={"load_s": 9.0, "accuracy": 0.5}) for name, v in SCENARIO.variants.items()}},
    {"workload": {}}, {},
])  # fmt: skip
def test_what_measures_and_prices_things_may_change(changes):
    assert needs_restart(SCENARIO, SCENARIO.with_(**changes)) == ""


@pytest.mark.parametrize("changes, parts", [
    ({"interval_s": 10.0}, "interval_s"), ({"name": "other"}, "name"),
    ({"candidates": SCENARIO.candidates[1:], "initial": ()}, "candidates"),
    ({"candidates": SCENARIO.candidates[::-1], "initial": ()}, "candidates"),
    ({"devices": {**SCENARIO.devices, "gpu": Device(budget=1)}}, "devices"),
    ({"services": {**SERVICES, "detect": SERVICES["classify"]}}, "services, applications"),
    ({"applications": {"all": Application(services=("classify",), slo_s=1.0)}, "workload": {}}, "applications"),
])  # fmt: skip
def test_what_names_and_shapes_things_needs_a_restart_and_is_told_in_one_line(changes, parts):
    told = needs_restart(SCENARIO, SCENARIO.with_(**changes))
    assert told == f"live-demo: {parts} changed, which takes a restart of the autoscaler (its journal goes on)"


def test_a_smaller_budget_other_weights_and_prices_count_from_the_next_decision_on(tmp_path):
    """What runs is over the new budget then; that is the envelope's to put right, and no reason to decide nothing."""
    opened = []

    class Closing(Steady):
        closed = False

        def close(self):
            self.closed = True

    def at(t_s):
        if t_s == 10:
            scaler.take(Setup(host(Wishing(), SMALLER), Limits(), None, SMALLER))
        if t_s == 20:  # the same again: the source goes on
            scaler.take(Setup(host(Wishing(), SMALLER), Limits(), None, SMALLER.with_()))

    first = Closing()
    scaler = autoscaler(LARGER, Wishing(), first, DryRun(SCENARIO.initial_deployment), tmp_path,
                        FakeClock(last_s=25, on_time=at), open_source=lambda s: opened.append(s) or Closing())
    try:
        scaler.run(threading.Event())
    finally:
        scaler.close()
    intents = journaled(tmp_path)
    assert [i["proposal"]["reason"] for i in intents] == ["w_slo 1"] * 2 + ["w_slo 3"] * 4
    assert [from_json(i["deployment"]).units("cpu") for i in intents] == [3] * 2 + [2] * 4
    assert [i["price"] and i["price"]["decided"] for i in intents] == [None] * 2 + [1.0] * 4
    assert len(opened) == 1 and first.closed and scaler._source.closed
    assert [r["scenario_digest"] for r in journaled(tmp_path, "reload")] == [digest(SMALLER)] * 2


@pytest.mark.slow
def test_a_file_is_taken_up_on_sighup_and_another_service_is_refused(tmp_path):
    file, text = tmp_path / "scenario.yaml", find("live-demo").read_text().replace(": live-demo-", f": {FOLDER}/live-demo-")
    file.write_text(text)
    processes = Processes()
    try:
        scaler = processes.tidal("autoscale", "--scenario", file, "--policy", "static", "--fallback", "static",
                                 "--source", "scrape", "--url", "http://127.0.0.1:9", "--actuator", "dry-run",
                                 "--journal", tmp_path / "journal", "--interval", "1")
        scaler.waits_for(r"unchanged: 1 x large")
        file.write_text(text.replace("slo_s: 0.25", "slo_s: 0.3"))
        scaler.send(signal.SIGHUP)
        scaler.waits_for(r"another form of the scenario is taken up")
        file.write_text(text.replace("classify", "detect"))
        scaler.send(signal.SIGHUP)
        scaler.waits_for(r"last good ones stay: ValueError: live-demo: services, applications changed, which takes a restart")
        at = len(scaler.lines)
        scaler.waits_for(r"unchanged: 1 x large", after=at)
        assert scaler.end() == 0
    finally:
        processes.close()
