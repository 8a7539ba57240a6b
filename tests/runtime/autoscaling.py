"""An autoscaler put together for tests, on a fake clock."""

import threading

from baselines.static import Static
from envs.envelope import Limits
from runtime.autoscaler.journal import newest_first
from runtime.autoscaler.lease import FileLease
from runtime.autoscaler.policy_host import HostedPolicy, PolicyHost
from runtime.autoscaler.process import Autoscaler

PATIENCE_S = 120.0  # longer than any compilation


def host(policy, scenario, baseline=None, deadline_s=PATIENCE_S, interval_s=None):
    return PolicyHost(HostedPolicy("policy", policy, scenario, deadline_s),
                      HostedPolicy("baseline", baseline or Static(), scenario, deadline_s), interval_s or scenario.interval_s)


def autoscaler(scenario, policy, source, actuator, folder, clock, *, limits=None, shadow=None, mode="act", **more):
    return Autoscaler(
        scenario, policy if isinstance(policy, PolicyHost) else host(policy, scenario), source, actuator, folder,
        FileLease(folder), clock, interval_s=scenario.interval_s, limits=limits or Limits(), mode=mode,
        shadow_host=shadow and host(shadow, scenario), **more)


def run(scaler):
    """Runs until its clock stops it; its policies' threads end with it."""
    try:
        scaler.run(threading.Event())
    finally:
        for hosted in filter(None, (scaler._host, scaler._shadow_host)):
            hosted.close()


def journaled(folder, kind="intent"):
    """The records of one type, oldest first."""
    return [record for record in newest_first(folder) if record["type"] == kind][::-1]
