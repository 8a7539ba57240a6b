"""What a live cluster adds is found where a scenario does not tell of it; and the simulator takes it."""

import asyncio
import contextlib
import threading
import time

import pytest

from envs import scenario_written
from envs.scenario import Scrape
from envs.scenario_file import load
from runtime.__main__ import main
from runtime.measured_times import ClusterBusy, MeasuredCluster, MeasuredTimes, calibrated
from runtime.serving.service import Service

TOLD = load("live-demo").with_(scrape=Scrape(interval_s=0.7))
LATER_S, LONGER_S, LOADS_S = 0.03, 0.02, 0.2
HOST = ("127.0.0.1", 0)


@pytest.fixture(scope="module")
def cluster(request):
    """A cluster that takes longer than its scenario tells: to answer, to serve, and to load."""
    told = TOLD.with_(binding=request.param, service_cv=0.0)
    variants = {name: v.model_copy(update={"load_s": v.load_s + LOADS_S}) for name, v in told.variants.items()}
    true = told.with_(overhead_s=told.overhead_s + LATER_S, profile=told.profile.later(LONGER_S), variants=variants)
    loop, up = asyncio.new_event_loop(), threading.Event()
    service: list[Service] = []

    async def begin():
        service.append(Service(true))
        await service[0].start(HOST, HOST)
        while not service[0].cluster.settled:
            await asyncio.sleep(0.01)
        up.set()

    def serve():
        loop.create_task(begin())
        loop.run_forever()

    thread = threading.Thread(target=serve)
    thread.start()
    assert up.wait(60)
    with contextlib.closing(MeasuredCluster(told, service[0].gateway.url, service[0].control.url)) as measured:
        yield told, measured
    asyncio.run_coroutine_threadsafe(service[0].close(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(60)
    loop.close()


@pytest.mark.parametrize("cluster", ["late", "early"], indirect=True)
def test_answers_that_come_later_and_servers_that_are_held_longer(cluster):
    told, measured = cluster
    message_s, hold_s = measured.messages(20)
    assert LATER_S + LONGER_S - 0.001 <= message_s + hold_s < LATER_S + LONGER_S + 0.5  # what this machine adds is open
    assert hold_s >= LONGER_S - 0.001 if told.binding == "late" else hold_s == 0


@pytest.mark.parametrize("cluster", ["early"], indirect=True)
def test_requests_go_out_at_the_pace_of_the_load(cluster):
    told, measured = cluster
    began_s = time.monotonic()
    latency_s = asyncio.run(measured._ask(next(iter(told.applications)), 2, 0.2))
    assert len(latency_s) == 3 and time.monotonic() - began_s >= 3 * 0.2


@pytest.mark.parametrize("cluster", ["early"], indirect=True)
def test_by_how_much_replicas_beside_a_load_are_slower(cluster, monkeypatch):
    _, measured = cluster
    loading = threading.Event()

    async def answers(application, apart_s):
        while True:
            await asyncio.sleep(0.02)
            done_s = time.perf_counter()
            yield done_s - (0.015 if loading.is_set() else 0.01), done_s

    def load_s(kind):
        loading.set()
        time.sleep(0.3)
        loading.clear()
        return 0.25

    monkeypatch.setattr(measured, "_answers", answers)
    monkeypatch.setattr(measured, "_load_s", load_s)
    monkeypatch.setattr("runtime.measured_times.QUIET_S", 0.2)
    load_s_, slowdown = measured.loads(1)
    assert set(load_s_.values()) == {0.25} and slowdown == 1.5


@pytest.mark.parametrize("cluster", ["early"], indirect=True)
def test_a_cluster_that_serves_somebody_is_not_measured(cluster, monkeypatch):
    _, measured = cluster
    counts = iter([10.0, 13.0])
    monkeypatch.setattr(measured, "_offered", lambda: next(counts))
    with pytest.raises(ClusterBusy, match="3 requests"):
        measured.check_idle()


@pytest.mark.parametrize("cluster", ["early"], indirect=True)
def test_the_command_writes_a_scenario_that_tells_of_it(cluster, tmp_path, capsys):
    told, measured = cluster
    path = scenario_written.write(told, tmp_path / "told", "")
    urls = "--gateway", measured._gateway, "--control", measured._control
    few = "--requests", "10", "--rps", "100"
    assert main(["calibrate", "--scenario", str(path), *urls, *few, "--out", str(tmp_path / "found")]) == 0
    found = load(tmp_path / "found" / "scenario.yaml")
    after_s, before_s = (s.profile.latency_s("small", told.kinds[0].shape, 1)[0] for s in (found, told))
    held_s = after_s - before_s
    assert found.overhead_s - told.overhead_s + held_s >= LATER_S + LONGER_S - 0.001
    assert found.variants["medium"].load_s >= told.variants["medium"].load_s + LOADS_S - 0.01
    assert "written" in capsys.readouterr().out


def test_nobody_is_there(capsys):
    assert main(["calibrate", "--scenario", "live-demo", "--control", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err == "tidal: http://127.0.0.1:1: nobody answers there (ConnectionError)\n"


def test_the_simulator_takes_what_was_measured():
    times = MeasuredTimes(0.25, 0.125, {"medium": 9.0}, decide_s=0.5, scrape_s=2.0, lag_s=0.1, load_slowdown=1.25)
    found = calibrated(TOLD, times)
    kind = TOLD.kinds[0]
    assert found.overhead_s == TOLD.overhead_s + 0.25 and found.decision_delay_s == 0.5
    assert (found.scrape.interval_s, found.scrape.delay_s) == (2.0, 0.1)
    assert found.failures == TOLD.failures.model_copy(update={"load_slowdown": 1.25})
    assert [v.load_s for v in found.variants.values()] == [0.5, 9.0, 1.0]
    before, after = (s.profile.latency_s(kind.variants[0], kind.shape, 1) for s in (TOLD, found))
    assert after == (before[0] + 0.125, *before[1:])
