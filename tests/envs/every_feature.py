"""The simulated cluster compiled with every feature: two compilations, for late and early binding, serve many tests."""

from envs.cluster import SimulatedCluster
from envs.kernel import Flags


def everything(early: bool) -> Flags:
    """Every feature of a binding."""
    return Flags(*(True for _ in Flags._fields))._replace(EARLY=early, PREDICT=early, ONE_QUEUE=False)


class Whole(SimulatedCluster):
    """With every feature, so it records, too: into memory that is there only when it was asked for."""

    def __init__(self, *args, **more):
        super().__init__(*args, **{**more, "record": True})

    def _features(self):
        return everything(self.scenario.binding == "early")
