"""An autoscaler that dies at any point of a decision: serving goes on, and whoever comes next does nothing twice."""

from dying_autoscaler import POINTS
from live_system import HERE


def test_serving_goes_on_and_no_decision_is_carried_out_twice(system):
    cluster = system.cluster()
    load = system.load(cluster, 40)
    scaler = system.autoscaler(cluster, "made_policies:OutAndIn", command=(HERE / "dying_autoscaler.py",))
    for point in POINTS:
        scaler.running.waits_for(f"^died {point}$")
    scaler.decides(2, lambda intent: intent["acts"])
    assert scaler.running.end() == 0, scaler.running.text
    load.end().all_right()

    intents, outcomes = scaler.records(), scaler.records("outcome")
    ids = [intent["decision_id"] for intent in intents]
    assert len(set(ids)) == len(ids)
    assert {identity.partition("/")[0] for identity in ids} == {ids[0].partition("/")[0]}  # one journal, by seven processes
    assert [o["decision_id"] for o in outcomes] == [i["decision_id"] for i in intents if i["acts"]]  # none is left open
    status = {outcome["decision_id"]: outcome["status"] for outcome in outcomes}
    died = [identity for identity, before in zip(ids, scaler.records()) if before["acts"]][:len(POINTS) - 2]
    assert status[died[0]] in ("applied", "abandoned")  # by whether its interval was over
    assert [status[identity] for identity in died[1:]] == ["applied"] * 3
    made = cluster.events("deployment")
    assert len(made) == list(status.values()).count("applied") == cluster.version - 1  # each once
    starts = scaler.records("start")
    assert len(starts) == len(POINTS) + 1 and all(start["remembered"] for start in starts[3:])
