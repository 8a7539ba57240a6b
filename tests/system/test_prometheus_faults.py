"""Whatever is wrong with the metrics, what is in force stays, an alarm says so, and all goes on when they are back.

A real Prometheus scrapes a real cluster under load. Between them, and before Prometheus, stand relays for the faults that the
processes cannot have by themselves: numbers that are NaN, a page that never changes, a target that hangs up, slow answers.
"""

import re
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from relay import Relay
from running import until

HELD = 2  # decisions that are held in each fault, at least


@pytest.fixture(scope="module")
def live(shared_system):
    """An autoscaler that wants another deployment at each decision, and sees the cluster through Prometheus."""
    system, cluster = shared_system, shared_system.cluster()
    target = Relay(cluster.gateway)
    prometheus = system.prometheus(tidal=[target.url])
    front = Relay(prometheus.url)
    load = system.load(cluster, 50)
    prometheus.scrapes()
    (system.folder / "limits.yaml").write_text("max_age_s: 1.0")
    scaler = system.autoscaler(cluster, "made_policies:OutAndIn", "--limits", system.folder / "limits.yaml",
                               source="prometheus", url=front.url)
    yield SimpleNamespace(cluster=cluster, target=target, prometheus=prometheus, front=front, scaler=scaler)
    answers = load.end().all_right()
    assert len(answers) > 100
    target.close()
    front.close()


@contextmanager
def down(live):
    live.prometheus.running.kill()
    yield
    live.prometheus.start()


@contextmanager
def hung(live):
    live.prometheus.running.freeze()
    yield
    live.prometheus.running.go_on()


@contextmanager
def empty(live):
    live.prometheus.running.kill()
    live.prometheus.configure()
    live.prometheus.start()
    yield
    live.prometheus.configure(tidal=[live.target.url])
    live.prometheus.reload()


@contextmanager
def slow(live):
    live.front.delay_s = 1.5
    yield
    live.front.delay_s = 0.0


@contextmanager
def target_gone(live):
    live.target.gone = True
    yield
    live.target.gone = False


@contextmanager
def not_a_number(live):
    numbers = re.compile(rb"^(tidal_(?!exposition)\S+) \S+$", re.MULTILINE)
    live.target.change = lambda body: numbers.sub(rb"\1 NaN", body)
    yield
    live.target.change = lambda body: body


@contextmanager
def always_the_same_page(live):
    first = []
    live.target.change = lambda body: (first.append(body), first[0])[1]
    yield
    live.target.change = lambda body: body


@contextmanager
def cluster_frozen(live):
    live.cluster.running.freeze()
    yield
    live.cluster.running.go_on()


FAULTS = [down, hung, empty, target_gone, not_a_number, always_the_same_page,
          *(pytest.param(fault, marks=pytest.mark.slow) for fault in (slow, cluster_frozen))]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_what_is_in_force_stays_until_the_load_is_known_again(live, fault):
    scaler = live.scaler
    until(lambda: scaler.decides(1, lambda intent: intent["acts"]) and not scaler.value("blind"), "it sees and acts")
    lines = len(scaler.running.lines)
    with fault(live):
        until(lambda: scaler.value("blind"), lambda: f"it is blind:\n{scaler.running.text[-2000:]}")
        seen = [intent for intent in scaler.records() if loads(intent)][-1]
        held = scaler.decides(HELD, lambda intent: any("held: " in bound for bound in intent["bounds"]))
        assert scaler.value("blind") == 1
        scaler.running.waits_for("WARNING blind: ", after=lines)
        blind = scaler.records()[scaler.records().index(held[0]):]
        assert fault is cluster_frozen or live.cluster.version == int(held[0]["version"])
    assert not any(intent["acts"] for intent in blind)
    assert all(set(loads(intent)) <= {loads(seen)[0]} for intent in blind)  # missing, or the last that was seen: never zero
    assert scaler.health()["alive"]

    scaler.running.waits_for("WARNING no longer blind: ", after=lines)
    back = scaler.decides(1, lambda intent: intent["acts"])[-1]
    assert loads(back)[0] > 0 and back["version"] >= held[0]["version"]
    assert scaler.value("blind") == 0


def loads(intent):
    """The offered load that a decision was made with; nothing where it was missing."""
    found, _ = intent["observation"]["services"]["classify"]
    return [] if found is None else [found]
