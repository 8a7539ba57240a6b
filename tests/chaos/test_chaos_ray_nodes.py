"""Ray's nodes in a trial, without Ray: whose processes they are, whom a fault hits, and which replica is which process."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from running import until

from envs.scenario_file import load
from runtime.chaos import harm, problem, ray_nodes
from runtime.chaos.faults import Fault
from runtime.chaos.history import Held
from runtime.chaos.watch import Watch
from runtime.demo.processes import Processes
from runtime.deployment_json import kind_to_json, to_json

WORKER = "0123456789abcdef replica 3 stage 0 rank 0"
NODE = f"""
import subprocess
child = subprocess.Popen(["bash", "-c", "exec -a 'ray::{WORKER}' sleep 60"])
print("up", flush=True)
child.wait()
"""


@pytest.fixture
def node(tmp_path):
    """What stands for a node: a process in a session of its own, and a worker under it."""
    processes = Processes(tmp_path)
    running = processes.start("node", [sys.executable, "-c", NODE], "node")
    running.waits_for("up")
    worker = until(lambda: ray_nodes.workers().get(WORKER), "the worker is there")
    yield SimpleNamespace(pid=running.process.pid, worker=worker, running=running, up=True, name="ray node 1")
    processes.close()


def stat(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def look(state, number, node):
    return Held(number, state, 0.0, 1, 0, (node.worker,))


def played(name, nodes, *replicas):
    """Whom it hit, and how to undo it."""
    system = SimpleNamespace(parts={node.name: node for node in nodes})
    return harm.do(Fault(0.0, name, 0.0, 0.99), system, SimpleNamespace(replicas=lambda: replicas))


def test_a_node_is_killed_with_all_that_runs_on_it(node):
    assert {node.pid, node.worker[0]} <= set(ray_nodes.session(node.pid))
    whom, _ = played("Ray node killed", [node], look("ready", 3, node), look("pending", 4, node),
                     look("draining", 5, node))
    assert whom == "ray node 1, replica 3, replica 4"
    assert node.running.process.wait(10) == -9
    until(lambda: WORKER not in ray_nodes.workers(), "the worker is gone")


def test_a_node_hangs_with_all_that_runs_on_it_until_it_goes_on(node):
    _, undo = played("Ray node hung", [node], look("ready", 3, node))
    until(lambda: {stat(pid)[0] for pid in ray_nodes.session(node.pid)} == {"T"}, "both are stopped")
    undo()
    until(lambda: "T" not in {stat(pid)[0] for pid in ray_nodes.session(node.pid)}, "they go on")
    assert ray_nodes.workers()[WORKER] == node.worker


def test_one_node_stays_and_one_without_replicas_is_not_hit(node):
    away = SimpleNamespace(name="ray node 2", up=False, pid=0)
    ready, draining = look("ready", 3, node), look("draining", 3, node)
    for nodes, replicas in (([], []), ([node], []), ([node], [draining]), ([node, away], [ready])):
        with pytest.raises(harm.NobodyThere):
            played("Ray node killed", nodes, *replicas)
    assert node.running.process.poll() is None


def test_replicas_on_ray_are_the_processes_that_bear_their_actors_names(tmp_path, node):
    scenario = load(problem.write(tmp_path, workers=True).path)
    kind, state = scenario.candidates[0].kinds[0], tmp_path / "state.json"
    rows = [{"number": number, "state": "ready", "started_s": 0.0, "kind": kind_to_json(kind),
             "whereabouts": {"parts": [{"process": {"actor": actor, "group": "g", "of": 1}}]}}
            for number, actor in ((3, WORKER), (4, "0123456789abcdef replica 4 stage 0 rank 0"))]
    versions = [{"number": n, "decision_id": "", "deployment": to_json(scenario.deployment(levels))}
                for n, levels in ((1, (1, 0)), (2, (2, 3)))]
    state.write_text(json.dumps({"replicas": rows, "versions": versions}))
    watch = Watch(scenario, state, "http://127.0.0.1:9", lambda: True, on_ray=True)
    assert [(held.number, held.processes) for held in watch.replicas()] == [(3, (node.worker,)), (4, ())]
    assert watch.looks[-1].wanted == (2, 3)
    assert int(stat(node.worker[0])[19]) == node.worker[1]
