"""Policy files that were corrupted, cut, swapped, or made to do harm: refused in one line, and the last good policy stays."""

import hashlib
import json
import os
import pickle
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from autoscaling import autoscaler, host, journaled
from autoscaling import run as played
from hypothesis import given, settings
from hypothesis import strategies as st
from running import until
from safetensors.numpy import load as tensors_of
from safetensors.numpy import save
from simulated_service import FakeClock
from test_policy_safety import SCENARIO, Metrics

from agents import registry, tuned_planner
from agents.manifest import AgentError
from baselines import weights_folder
from baselines.static import Static
from envs.contract import Decision, Policy
from envs.envelope import Limits
from envs.scenario_file import load
from runtime.actuators.dry_run import DryRun
from runtime.autoscale_command import _hosted
from runtime.autoscaler.reload import Reload, Setup

RESNET = load("resnet-variants")
KINDS = {"resnet-variants-ppo": RESNET, "resnet-variants-order-keep-network": RESNET, "live-demo-proposals-network": SCENARIO}
NAMES = sorted(KINDS)
RUN = []


def harm():
    RUN.append("unpickled")


class Harm:
    """Leaves a trace where it is unpickled."""

    def __reduce__(self):
        return harm, ()


@pytest.fixture(params=NAMES)
def folder(request, tmp_path):
    return copied(request.param, tmp_path)


def copied(name, to):
    shutil.copytree(registry.PRETRAINED / name, to / name)
    return to / name


def refused(folder, scenario=None):
    """The one line with which a folder is refused."""
    with pytest.raises(AgentError) as caught:
        registry.make(str(folder), scenario or KINDS[folder.name])
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600 and str(folder) in text
    return text


def manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def weights(folder, data):
    """Writes weights, and their digest into the manifest, as somebody who means harm would."""
    (folder / "weights.safetensors").write_bytes(data)
    manifest(folder, weights_sha256=hashlib.sha256(data).hexdigest())


def test_as_they_are_they_are_taken(folder):
    assert isinstance(registry.make(str(folder), KINDS[folder.name]), Policy)


@pytest.mark.parametrize("file", ["weights.safetensors", "manifest.json"])
def test_cut_at_any_place(folder, file):
    whole = (folder / file).read_bytes()
    for at in np.linspace(0, len(whole) - 2, 20).astype(int):
        (folder / file).write_bytes(whole[:at])
        refused(folder)


def test_any_flipped_byte_of_the_weights(folder):
    whole = (folder / "weights.safetensors").read_bytes()
    for at in np.linspace(0, len(whole) - 1, 20).astype(int):
        (folder / "weights.safetensors").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert "its manifest says" in refused(folder)


def test_swapped(folder, tmp_path):
    other = copied(NAMES[NAMES.index(folder.name) - 1], tmp_path / "other")
    own = (folder / "weights.safetensors").read_bytes()
    shutil.copy(other / "weights.safetensors", folder)
    refused(folder)
    weights(folder, (folder / "weights.safetensors").read_bytes())  # with the right digest
    refused(folder)
    (folder / "weights.safetensors").write_bytes(own)
    shutil.copy(other / "manifest.json", folder)
    refused(folder)


@pytest.mark.parametrize("version", ["format", "contract"])
def test_of_another_version(folder, version):
    manifest(folder, **{version: 77})
    assert re.search(f"{version} 77, here [12]; use the Tidal that wrote it, or a newer one", refused(folder))


def test_larger_than_any(folder, monkeypatch):
    monkeypatch.setattr(weights_folder, "LARGEST_BYTES", 1 << 18)
    os.truncate(folder / "weights.safetensors", 1 << 40)  # sparse
    assert "more than" in refused(folder)
    manifest(folder, training={"notes": "x" * (1 << 18)})
    assert "more than" in refused(folder)


@pytest.mark.parametrize("file", ["weights.safetensors", "manifest.json"])
def test_no_file_at_all(folder, file):
    (folder / file).unlink()
    refused(folder)
    os.mkfifo(folder / file)  # nobody writes to it
    refused(folder)
    (folder / file).unlink()
    (folder / file).symlink_to("/dev/zero")
    refused(folder)
    (folder / file).unlink()
    (folder / file).mkdir()
    refused(folder)


@pytest.mark.parametrize("spoil", [
    lambda tensors: {**tensors, "weight.0": tensors["weight.0"] * np.float32(np.nan)},
    lambda tensors: {**tensors, "bias.0": tensors["bias.0"] + np.float32(np.inf)},
    lambda tensors: {**tensors, "weight.0": tensors["weight.0"][:, 1:].copy()},
    lambda tensors: {**tensors, "weight.1": tensors["weight.1"][1:].copy()},
    lambda tensors: {**tensors, "weight.0": tensors["weight.0"].ravel()},
    lambda tensors: {**tensors, "bias.0": np.zeros((0,), np.float32)},
    lambda tensors: {name: tensor for name, tensor in tensors.items() if name != "bias.0"},
    lambda tensors: {},
], ids=["nan", "inf", "inputs", "outputs", "flat", "empty", "missing", "nothing"])
def test_networks_that_cannot_decide_though_their_digest_is_right(folder, spoil):
    weights(folder, save(spoil(tensors_of((folder / "weights.safetensors").read_bytes()))))
    refused(folder)


def test_pickles_in_their_place_are_not_opened(folder):
    RUN.clear()
    for data in (pickle.dumps(Harm()), b"PK\x03\x04" + pickle.dumps(Harm())):
        weights(folder, data)
        refused(folder)
        (folder / "manifest.json").write_bytes(data)
        refused(folder)
        shutil.copy(registry.PRETRAINED / folder.name / "manifest.json", folder)
    assert not RUN
    pickle.loads(pickle.dumps(Harm()))
    assert RUN  # it would have shown


@pytest.mark.parametrize("base", ["os:system", "baselines.settings_file:write", "baselines.weights_folder:copy_folder",
                                  "baselines.settings_file:re.compile", "baselines.static:Policy", "baselines.nobody:X",
                                  "x", "baselines..static:Static", "baselines.static:__doc__", 5, None,
                                  ["baselines.static:Static"]])
def test_what_a_manifest_names_is_a_policy_of_baselines_or_nothing(tmp_path, base):
    folder = copied("resnet-variants-ppo", tmp_path)
    manifest(folder, base=base or [None], base_settings={"path": str(tmp_path / "made")})
    refused(folder)
    tuned_planner.write(tmp_path / "tuned", base, {"path": "x"}, "resnet-variants", {})
    refused(tmp_path / "tuned", RESNET)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("text", ["", "[]", "null", "3", '"x"', "{}", "[" * 100_000, '{"a":' * 100_000, "\ud800",
                                  "{" + "9" * 5000,
                                  '{"kind": "order-keep"}', '{"kind": ["proposals"]}', '{"policy": 1, "settings": 2}',
                                  '{"policy": "baselines.static:Static", "settings": [1], "training": {}}'])
def test_no_manifest_at_all(folder, tmp_path, text):
    data = text.encode("utf-8", "surrogatepass")
    (folder / "manifest.json").write_bytes(data)
    refused(folder)
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "planner.json").write_bytes(data)
    refused(tmp_path / "tuned", RESNET)


ODD = st.sampled_from([None, True, -1, 0, 10**30, 1e308, "", "x", [], {}, [[]], [None], {"x": None}, [1, [2, ["x"]]], [-1],
                       [10**9]])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40)
@given(data=st.data())
def test_a_manifest_with_anything_in_a_field_is_refused_or_can_be_played(name, data, tmp_path_factory):
    folder = copied(name, tmp_path_factory.mktemp("odd"))
    said = json.loads((folder / "manifest.json").read_text())
    manifest(folder, **{data.draw(st.sampled_from(sorted(said))): data.draw(ODD)})
    try:
        _hosted(str(folder), KINDS[name], 5.0).close()
    except ValueError as error:
        assert "\n" not in str(error)
    shutil.rmtree(folder)


class Marked(Policy):
    """Says its name."""

    memory_intervals = 3

    def __init__(self, name):
        self.name, self.seen = name, []

    def reset(self, scenario):
        self.seen = []

    def decide(self, observation):
        self.seen.append(observation.t_s)
        return Decision(observation.deployment, self.name)


def test_the_last_good_policy_stays_and_a_new_one_knows_what_was_before(tmp_path):
    """On SIGHUP `Reload` reads; here the folder is bad first, and good later."""
    agent = copied("live-demo-proposals-network", tmp_path)
    good = (agent / "weights.safetensors").read_bytes()
    second, refusals = Marked("second"), []

    def read():
        if not second_is_due:
            return Setup(host(registry.make(str(agent), SCENARIO), SCENARIO), Limits())
        return Setup(host(second, SCENARIO), Limits())

    def at(t_s):
        if t_s == 20:
            (agent / "weights.safetensors").write_bytes(good[:-1])
            reload.ask()
            until(lambda: refusals, "it is refused")
        if t_s == 40:
            second_is_due.append(True)
            reload.ask()
            until(lambda: not scaler._setups.empty(), "it is read")

    second_is_due = []
    scaler = autoscaler(SCENARIO, Marked("first"), Metrics([""] * 20), DryRun(SCENARIO.initial_deployment),
                        tmp_path / "journal", FakeClock(last_s=60, on_time=at))
    reload = Reload(read, scaler.take, lambda: refusals.append(1))
    played(scaler)
    reload.close()
    assert [i["proposal"]["reason"] for i in journaled(tmp_path / "journal")] == ["first"] * 8 + ["second"] * 5
    assert second.seen == [25, 30, 35, 40, 45, 50, 55, 60] and refusals == [1]
    told = scaler.meters.registry.get_sample_value
    assert told("tidal_autoscaler_reloads_total", {"outcome": "taken"}) == 1


def test_a_storm_of_reloads_reads_a_few_times():
    reads, taken, go = [], [], threading.Event()

    def read():
        reads.append(1)
        go.wait()
        return Setup(host(Static(), SCENARIO), Limits())

    reload = Reload(read, taken.append, lambda: None)
    for _ in range(1000):
        reload.ask()
    go.set()
    until(lambda: taken, "it is read")
    until(lambda: reload._asked.empty(), "all are heard")
    reload.close()
    until(lambda: not reload._thread.is_alive(), "it ends")
    assert len(reads) == len(taken) <= 3
    for setup in taken:
        setup.close()


def test_the_command_refuses_in_one_line(tmp_path, capsys):
    from runtime.__main__ import main

    folder = copied("live-demo-proposals-network", tmp_path)
    (folder / "weights.safetensors").write_bytes(b"")
    assert main(["autoscale", "--scenario", "live-demo", "--policy", str(folder), "--source", "scrape", "--url",
                 "http://127.0.0.1:9/metrics", "--actuator", "dry-run", "--journal", str(tmp_path / "journal")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("tidal: ") and said.count("\n") == 1 and not (tmp_path / "journal").exists()
    with pytest.raises(ValueError, match="weights"):
        _hosted(str(folder), SCENARIO, 5.0)
    assert Path(folder).exists()
