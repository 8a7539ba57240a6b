"""The simulated cluster compiled with every feature: two compilations, for late and early binding, serve many tests."""

from envs.cluster import SimulatedCluster
from envs.kernel import Flags


def everything(early: bool) -> Flags:
    """Every feature of a binding."""
    return Flags(*(True for _ in Flags._fields))._replace(EARLY=early, PREDICT=early, ONE_QUEUE=False)


class Whole(SimulatedCluster):
    """With every feature."""

    def _features(self):
        return everything(self.scenario.binding == "early")
