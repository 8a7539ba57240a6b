"""Workers over the nodes of a Ray cluster: a node is lost under load, a worker hangs, the cluster process dies.

By itself on addresses of one machine; by `in_namespaces.sh` on three hosts, whose networks can be cut off.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the extra ray is not installed")

from live_system import HERE, MODELS
from running import until

from runtime.chaos.ray_nodes import environment

pytestmark = pytest.mark.slow

STARTS_S = 120.0
CORES = 4  # of a node: room for what comes before what goes has gone
WORKER = re.compile(rb"ray::[0-9a-f]{16} replica \d+ ")  # in the list of processes
NAMESPACES = [name for name in os.environ.get("TIDAL_NAMESPACES", "").split(",") if name]
ACCELERATORS = HERE / "scenarios" / "accelerators.yaml"


class Nodes:
    """A Ray cluster of three nodes of four cores, in a short folder of its own: paths of sockets must be short."""

    def __init__(self, processes):
        self._processes, self.folder = processes, Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self.environment = environment(self.folder)
        self.running = processes.python(HERE / "ray_nodes.py", CORES, **self.environment)
        (self.address,) = self.running.waits_for(r"^cluster (\S+)", STARTS_S)

    def ask(self, line, answer):
        said = len(self.running.lines)
        self.running.process.stdin.write(line + "\n")
        self.running.process.stdin.flush()
        return self.running.waits_for(answer, after=said)

    def kill(self, number):
        """Ends all processes of a node as if its power had gone."""
        self.ask(f"kill {number}", f"^killed {number}")

    @property
    def free(self):
        """Cores that nobody holds."""
        return int(self.ask("free", r"^free (\d+)")[0])

    def workers(self):
        """Pid and number of the node of each worker."""
        found = {}
        for pid in self._processes.pids():
            with suppress(OSError):
                if WORKER.match(Path(f"/proc/{pid}/cmdline").read_bytes()):
                    parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
                    raylet = Path(f"/proc/{parent}/cmdline").read_text()
                    found[pid] = int(re.search(r"--node_ip_address=[\d.]+\.(\d) ", raylet.replace("\0", " "))[1]) - 2
        return found

    def close(self):
        self.running.process.stdin.close()
        try:
            assert self.running.wait() == 0, self.running.text
        finally:
            shutil.rmtree(self.folder)


@pytest.fixture
def nodes(system):
    nodes = Nodes(system.processes)
    yield nodes
    nodes.close()


@pytest.fixture
def over(system, nodes):
    """Starts `tidal serve` over the Ray cluster."""
    def start(*arguments, models=MODELS, **more):
        return system.cluster("--launcher", "ray", "--ray-address", nodes.address, *arguments, models=models,
                              **nodes.environment, **more)

    return start


def ends(cluster, nodes, left=3):
    """The cluster process ends in good order, and nothing of it is left in Ray."""
    assert cluster.running.end() == 0, cluster.running.text
    until(lambda: not nodes.workers(), lambda: f"no worker is left: {nodes.workers()}")
    until(lambda: nodes.free == left * CORES, lambda: f"Ray keeps nothing for us: {nodes.free} cores are free")


def test_a_node_that_is_lost_under_load_loses_no_request(system, nodes, over):
    cluster = over()
    cluster.want(3, 0, 0, 0, 0)
    cluster.settles()
    before = nodes.workers()
    assert sorted(before.values()) == [0, 1, 2]  # spread
    assert nodes.free == 3 * CORES - 3
    load = system.load(cluster, "60")
    until(lambda: cluster.sums("tidal_requests_settled_total") > 100, "requests are answered")
    last = cluster.events()[-1]["number"]

    nodes.kill(2)
    failed = until(lambda: cluster.events("failed", after=last), "the loss is noticed")
    cluster.settles()
    settled = cluster.sums("tidal_requests_settled_total")
    until(lambda: cluster.sums("tidal_requests_settled_total") > settled + 100, "requests are answered")
    answers = load.end().all_right()

    after = nodes.workers()
    served = [event for event in cluster.events("failed", after=last) if "while it was coming up" not in event["why"]]
    assert len(failed) == len(served) == 1  # one that came up in its place may have been put on the node that is no more
    assert len(answers) > 200 and cluster.states()["ready"] == 3
    kept = {pid: node for pid, node in before.items() if node != 2}
    assert len(after) == 3 and kept.items() < after.items() and set(after.values()) == {0, 1}  # one came anew
    ends(cluster, nodes, left=2)


@pytest.mark.skipif(not NAMESPACES, reason="hosts that can be cut off: sudo sh tests/system/in_namespaces.sh COMMAND")
def test_a_host_that_is_cut_off_under_load_loses_no_request_and_what_it_ran_ends(system, nodes, over):
    """Its processes live on, and nobody can tell them anything: the power is on, the cable is out."""
    cluster = over()
    cluster.want(3, 0, 0, 0, 0)
    cluster.settles()
    before = nodes.workers()
    assert sorted(before.values()) == [0, 1, 2]
    (lonely,) = (pid for pid, node in before.items() if node == 2)
    load = system.load(cluster, "60")
    until(lambda: cluster.sums("tidal_requests_settled_total") > 100, "requests are answered")
    last = cluster.events()[-1]["number"]

    cable(2, "down")
    try:
        until(lambda: cluster.events("failed", after=last), "the loss is noticed")
        assert lonely in nodes.workers()
        until(lambda: cluster.states()["ready"] == 3, lambda: f"another comes in its place: {cluster.states()}", 3 * STARTS_S)
        settled = cluster.sums("tidal_requests_settled_total")
        until(lambda: cluster.sums("tidal_requests_settled_total") > settled + 100, "requests are answered")
        assert len(load.end().all_right()) > 200
        until(lambda: lonely not in nodes.workers(), "what is cut off ends by itself", STARTS_S)
    finally:
        cable(2, "up")
    assert set(nodes.workers().values()) == {0, 1}
    ends(cluster, nodes, left=2)


def cable(node, state):
    """Pulled out of a host, or put back."""
    subprocess.run(["ip", "-n", NAMESPACES[node], "link", "set", "eth0", state], check=True, timeout=20)


def test_a_worker_that_hangs_is_fenced_through_ray(system, nodes, over):
    cluster = over()
    cluster.want(2, 0, 0, 0, 0)
    cluster.settles()
    stopped, *_ = nodes.workers()
    load = system.load(cluster, "40")
    until(lambda: cluster.sums("tidal_requests_settled_total") > 50, "requests are answered")
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: stopped not in nodes.workers(), "it is ended")
    cluster.settles()
    load.end().all_right()
    assert cluster.states()["ready"] == 2
    ends(cluster, nodes)


def test_pipelines_lie_on_one_node_and_outlive_the_cluster_process(system, nodes, over, tmp_path):
    options = {"scenario": ACCELERATORS, "models": {"quick": "echo_models:staged"}}
    first = over("--state", tmp_path / "state.json", **options)
    first.want(0, 2)
    first.settles()
    until(lambda: len(nodes.workers()) == 4, "those of before are gone")
    before = nodes.workers()
    assert sorted(before.values()).count(max(before.values())) == 2 and len(set(before.values())) == 2  # two by two
    first.running.kill()

    second = over("--state", tmp_path / "state.json", **options)
    load = system.load(second, "10")
    until(lambda: second.sums("tidal_requests_settled_total") > 20, "requests are answered")
    assert nodes.workers() == before
    one, *_ = before
    os.kill(one, signal.SIGKILL)  # of those that were found, too, the loss is noticed
    until(lambda: one not in nodes.workers() and len(nodes.workers()) == 4, "it is replaced, and its pipeline with it")
    second.settles()
    load.end().all_right()
    after = nodes.workers()
    assert len(before.keys() & after.keys()) == 2 and all(list(after.values()).count(node) == 2 for node in after.values())
    ends(second, nodes)


def test_without_rays_head_requests_are_answered_for_a_minute_and_then_all_is_begun_anew(system, nodes, over, tmp_path):
    first = over("--state", tmp_path / "state.json")
    first.want(2, 0, 0, 0, 0)
    first.settles()
    before = nodes.workers()
    nodes.kill(0)
    load = system.load(first, "20")
    until(lambda: first.sums("tidal_requests_settled_total") > 300, "requests are answered, without Ray")
    load.end().all_right()
    assert first.running.wait(STARTS_S) != 0 and "Failed to connect to GCS" in first.running.text  # Ray's doing
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before), "its workers end by themselves", STARTS_S)

    again = Nodes(system.processes)
    try:
        second = system.cluster("--launcher", "ray", "--ray-address", again.address, "--state", tmp_path / "state.json",
                                models=MODELS, **again.environment)
        assert second.deployment == second.scenario.deployment((2, 0, 0, 0, 0)) and second.states()["ready"] == 2
        ends(second, again)
    finally:
        again.close()
