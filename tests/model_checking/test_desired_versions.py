"""What is wanted, in all orders of what may be asked: no decision is executed twice, and nothing changes what is held."""

from itertools import product

from envs.contract import Deployment
from envs.scenario_file import load
from runtime.serving.desired import DeploymentPinned, Desired, VersionConflict, hold

KIND = load("live-demo").kinds[0]
DEPLOYMENTS = [Deployment({KIND: n}) for n in (1, 2)]
HOLD_S = 2.5
CHANGES = [("change", d, id_, behind) for d, id_, behind in product((0, 1), ("", "a", "b"), (0, 1))]
ASKED = [*CHANGES, ("pin",), ("unpin",), ("time",)]


def test_every_sequence_of_three():
    refused = set()
    for sequence in product(ASKED, repeat=3):
        desired, t_s, executed, pinned_until_s = Desired.first(DEPLOYMENTS[0]), 0.0, [], -1.0
        for asked in sequence:
            before = desired
            match asked:
                case ("pin",):
                    pinned_until_s = t_s + HOLD_S
                    desired = Desired(desired.versions, hold(t_s, HOLD_S, "a freeze"))
                case ("unpin",):
                    pinned_until_s, desired = -1.0, Desired(desired.versions)
                case ("time",):
                    t_s += 2.0
                case (_, wanted, id_, behind):
                    try:
                        desired = desired.changed(DEPLOYMENTS[wanted], desired.current.number - behind, id_, t_s)
                    except (VersionConflict, DeploymentPinned) as error:
                        refused.add(type(error))
                        assert desired is before
                        assert (behind or id_ in executed or t_s < pinned_until_s)
                        continue
                    if desired is before:  # it is in force already
                        assert id_ and id_ == before.current.decision_id
                        continue
                    assert t_s >= pinned_until_s and not behind
                    assert desired.current.number == before.current.number + 1
                    assert desired.current.deployment == DEPLOYMENTS[wanted] and desired.before == before.current
                    assert not id_ or id_ not in executed
                    executed += [id_] if id_ else []
    assert refused == {VersionConflict, DeploymentPinned}
