"""The metric contract: complete, well named, and clean as text."""

import dataclasses
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from simulated_service import SimulatedService, swelling_load

from envs import contract
from envs.contract import ReplicaKind, Shape
from envs.scenario_file import load
from runtime import metrics as m
from runtime.exposition import kind_names

ROWS = {"applications": contract.ApplicationObservation, "services": contract.ServiceObservation,
        "kinds": contract.KindObservation, "devices": contract.DeviceObservation}


@pytest.fixture(scope="module")
def service():
    scenario = load("tenants")
    service = SimulatedService(scenario, swelling_load(scenario, 5, 50))
    service.advance_to(4 * scenario.interval_s)
    return service


def families(page):
    return {family.name: family for family in text_string_to_metric_families(page.decode())}


def test_every_number_of_an_observation_is_computed_from_something():
    fields = {f.name for f in dataclasses.fields(contract.Observation)} - set(ROWS)
    for table, row in ROWS.items():
        fields |= {f"{table}.{f.name}" for f in dataclasses.fields(row)}
    assert set(m.COMPUTED_FROM) == fields


def test_what_it_is_computed_from_is_in_the_contract():
    known = {series.name for series in m.CONTRACT} | {m.BUCKET}
    named = {word.partition("{")[0].rstrip(",") for text in m.COMPUTED_FROM.values() for word in text.split()
             if word.startswith("tidal_")}
    assert named <= known and len(named) > 10


def test_names_are_unique_prefixed_and_in_base_units():
    names = [series.name for series in m.CONTRACT]
    assert len(set(names)) == len(names)
    for series in m.CONTRACT:
        assert series.name.startswith("tidal_")
        assert series.name.endswith("_total") == (series.type == "counter")
        assert set(series.labels) <= {"application", "fate", "service", "tenant", *m.REPLICAS.labels, *m.PENDING_SINCE.labels}


def test_promtool_finds_nothing_to_say(service):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool: install the package prometheus")
    done = subprocess.run([promtool, "check", "metrics"], input=service.page(), capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_a_page_has_the_contract_s_series_with_their_types_and_labels(service):
    found = families(service.page())
    for series in m.CONTRACT:
        if series in (m.ANSWERS, m.VERSION):  # the simulator does not count these
            continue
        family = found[series.name.removesuffix("_total")]
        assert family.type == series.type
        assert family.documentation == series.help
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(series.labels)


def test_what_has_no_replicas_is_zero_and_not_left_out(service):
    rows = families(service.page())[m.REPLICAS.name].samples
    for kind in service.scenario.kinds:
        states = {s.labels["state"]: s.value for s in rows if s.labels["kind"] == str(kind)}
        assert set(states) == {"pending", "ready", "draining", "failed"} and not any(map(math.isnan, states.values()))


def test_device_totals_agree_with_the_rows_of_kinds(service):
    found, scenario = families(service.page()), service.scenario
    replicas = {}
    for s in found[m.REPLICAS.name].samples:
        replicas[s.labels["kind"]] = replicas.get(s.labels["kind"], 0) + s.value
    held_s = {s.labels["kind"]: s.value for s in found[m.HELD.name.removesuffix("_total")].samples}
    for name, device in scenario.devices.items():
        kinds = [kind for kind in service.cluster.kinds if kind.shape.device == name]

        def value(series, name=name):
            [found_value] = [s.value for s in found[series.name.removesuffix("_total")].samples if s.labels["device"] == name]
            return found_value

        assert value(m.DEVICE_HELD) == sum(replicas[str(k)] * k.shape.units for k in kinds)
        assert value(m.COST) == pytest.approx(device.price * sum(held_s[str(k)] * k.shape.units for k in kinds))
        assert 0 < value(m.DEVICE_USED) <= value(m.COST) / device.price
        memory = sum(replicas[str(k)] * scenario.memory_bytes(k) * (1 if name == "cpu" else k.shape.units) for k in kinds)
        assert value(m.DEVICE_MEMORY) == pytest.approx(memory)


def test_latency_buckets_are_those_of_the_simulator():
    edges = np.array(m.latency_edges_s(0.75))
    assert len(edges) == 511 and edges[-1] < 8 * 0.75 <= edges[-1] + 0.75 / 64 + 1e-12
    assert edges[63] == 0.75  # the SLO is an edge


def test_kinds_that_cannot_be_told_apart_by_label_are_refused():
    kinds = [ReplicaKind(("m",), Shape(1), 2, 0.1), ReplicaKind(("m",), Shape(1), 2, 0.1 + 1e-12)]
    with pytest.raises(ValueError, match="two replica kinds are called 'm @1c batch 2 wait"):
        kind_names(kinds)


def test_the_page_about_the_autoscaler_has_the_contract_and_what_observations_are_made_of():
    text = (Path(__file__).parents[2] / "docs" / "autoscaler.md").read_text()
    for series in m.CONTRACT:
        assert f"| `{series.name}` | {series.type} | {', '.join(series.labels) or '-'} | {series.help} |" in text
    for number, source in m.COMPUTED_FROM.items():
        assert f"| `{number}` | {source} |" in text
    assert text.count("| `tidal_") == len(m.CONTRACT)
