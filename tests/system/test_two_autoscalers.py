"""Of two autoscalers one leads; when it is killed or frozen the other follows, and who comes back does not act meanwhile."""

from running import until

STATIC = "baselines.static:Static"  # it never wants to change anything by itself


def test_the_other_takes_over_and_who_comes_back_stands_by(system):
    cluster = system.cluster()
    first = system.autoscaler(cluster, "made_policies:OutAndIn")
    until(lambda: first.health()["leading"], lambda: first.running.text)
    second = system.autoscaler(cluster, STATIC)
    assert second.url and not second.health()["leading"]
    first.decides(2, lambda intent: intent["acts"])
    assert not second.health()["leading"] and second.value("leading") == 0

    first.running.freeze()
    known = cluster.version
    until(lambda: second.health()["leading"], lambda: second.running.text)
    until(lambda: cluster.deployment == cluster.scenario.initial_deployment, lambda: second.running.text)
    second.decides(2, lambda intent: by(STATIC)(intent) and not intent["acts"])  # what it noted before is carried out
    assert cluster.version > known  # so that what the first had begun would be a conflict
    claimed, lines = cluster.version, len(first.running.lines)
    first.running.go_on()
    first.running.waits_for("another process leads now", after=lines)
    second.decides(4, by(STATIC))
    assert second.health()["leading"] and not first.health()["leading"]
    assert cluster.version == claimed
    second_led_s = second.records("start")[1]["at_s"]
    assert not [intent for intent in second.records() if intent["at_s"] > second_led_s and not by(STATIC)(intent)]

    second.running.kill()
    first.decides(2, by("made_policies:OutAndIn"))
    assert first.health()["leading"]
    ids = [intent["decision_id"] for intent in first.records()]
    assert len(set(ids)) == len(ids) and len(first.records("start")) == 3
    assert first.running.end() == 0, first.running.text


def by(policy):
    """Whether a policy, or the one that stands in for it, has decided."""
    return lambda intent: intent["by"] in (policy, "static") if policy == STATIC else intent["by"] == policy
