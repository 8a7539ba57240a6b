"""An offer, and whoever decides what is offered, on a fake clock."""

from prometheus_client import CollectorRegistry
from simulated_service import FakeClock

from envs.contract import Deployment
from envs.scenario_file import load
from runtime.account import Account, Grounds
from runtime.actuators.offer import REPLICAS, Offer

KINDS = load("live-demo").kinds[:2]
SILENCE_S = 30.0


class Decider:
    """Decides as the autoscaler's loop does, on a fake clock."""

    def __init__(self):
        self.clock, self.number = FakeClock(100.0), 0
        self.offer = Offer(Deployment({KINDS[0]: 2}), "", KINDS, self.clock, SILENCE_S)

    def decides(self, *counts, mode="act"):
        self.number += 1
        wanted = Deployment(dict(zip(KINDS, counts)))
        if mode == "act":
            assert self.offer.apply(wanted, self.offer.current().version, f"j/{self.number}").status == "applied"
        self.offer.tell(Account(f"j/{self.number}", self.clock.now_s(), 10.0, mode, "applied", "", Grounds()))

    def waits(self, s):
        self.clock._now_s += s

    @property
    def gauge(self):
        registry = CollectorRegistry()
        registry.register(self.offer)
        return [registry.get_sample_value(REPLICAS, {"kind": str(k), "variant": "+".join(k.variants), "device": "cpu"})
                for k in KINDS]
