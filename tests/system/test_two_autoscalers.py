"""Of two autoscalers one leads; when it is killed or frozen the other follows, and who comes back changes nothing."""

import pytest
from running import until


@pytest.fixture(scope="module")
def cluster(shared_system):
    return shared_system.cluster()


@pytest.mark.parametrize("end", ["killed", "frozen"])
def test_the_other_takes_over_and_the_first_does_not_act_again(system, cluster, end):
    first = system.autoscaler(cluster, "made_policies:OutAndIn")
    until(lambda: first.health()["leading"], lambda: first.running.text)
    first.decides(1, lambda intent: intent["acts"])
    second = system.autoscaler(cluster, "baselines.static:Static")  # it never wants to change anything by itself
    assert second.url and not second.health()["leading"]
    first.decides(2)
    assert not second.health()["leading"] and second.value("leading") == 0

    first.running.kill() if end == "killed" else first.running.freeze()
    known = cluster.version
    until(lambda: second.health()["leading"], lambda: second.running.text)
    second.decides(2)
    if end == "frozen":
        assert cluster.version > known  # what the first knew is in force no more
        first.running.go_on()
        first.running.waits_for("another process leads now")
        until(lambda: not first.health()["leading"], lambda: first.running.text)
    second.decides(4)
    assert second.health()["leading"]
    starts = [start["at_s"] for start in second.records("start")]
    late = [intent for intent in second.records() if intent["at_s"] > starts[1] and intent["by"] != "baselines.static:Static"]
    assert len(starts) == 2 and not late
    assert len({intent["decision_id"] for intent in second.records()}) == len(second.records())
    assert second.running.end() == 0, second.running.text
