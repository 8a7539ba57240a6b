"""What is played on both sides: scenarios that differ in what could make the sides differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from envs.scenario import Failures, Scenario
from envs.scenario_file import load
from reports.against.faster import faster

TIMED = {"resnets-on-one-core": 1, "resnets-on-all-cores": 2}
"""Scenarios that are written for the machine, once its models have been timed: cores that replicas may have, of two."""


@dataclass(frozen=True)
class Case:
    """One of them.

    Attributes:
        name: of the case.
        scenario: name or file.
        policy: that decides on both sides.
        told: what it is for.
        speed: how many times as fast as the scenario is, where its times are long enough for that.
        start_s: where in the load it begins, seconds of the scenario.
        models: a file for `tidal serve --models`: what computes; empty: emulated.
        changes: to the scenario, before it is made faster.
        seed: of requests and noise.
    """

    name: str
    scenario: str
    policy: str
    told: str = ""
    speed: float = 1.0
    start_s: float = 0.0
    models: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def problem(self) -> Scenario:
        """The scenario as it is played."""
        return faster(self.scenario_as_is(), self.speed)

    def scenario_as_is(self) -> Scenario:
        """The scenario at its own speed."""
        return load(self.scenario).with_(**self.changes)


CASES = (
    Case("resnet-infadapter", "resnet-variants", "infadapter", "variants and sizes change, early binding, routes", speed=3),
    Case("resnet-agent", "resnet-variants", "ppo", "the pretrained agent, at its own speed: it knows no other interval"),
    Case("placement", "alpaserve-s1", "static", "AlpaServe's placement: pipelines that host 18 models each"),
    Case("pipeline", "video", "ipa", "two stages, batches that wait to fill, late binding; a peak of three times the load",
         speed=8, start_s=1200),
    Case("cascade", "cascade", "cascadeserve", "requests leave early or go on", speed=2),
    Case("failover", "cascade", "hpa", "replicas break and are replaced, their requests go elsewhere", speed=2,
         changes={"failures": Failures(mean_time_s=120.0, detection_s=1.0)}),
    Case("resnet-real", "resnets-on-one-core", "infadapter-fast",
         "ResNets that compute, in worker processes; the other core is for gateway, clients and a replica that loads"),
    Case("resnet-crowded", "resnets-on-all-cores", "infadapter-fast", "the same, and no core is left for the others"),
    Case("tenants", "tenants", "hpa", "fair shares, a quota, and one tenant who floods"),
)  # fmt: skip
"""Those of the documentation, by `--cases`."""
