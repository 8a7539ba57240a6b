"""The actuator that only remembers: to see what the autoscaler would do where nothing is to be changed."""

from __future__ import annotations

from runtime.actuators.accepted import LastAccepted


class DryRun(LastAccepted):
    """Changes nothing but what it takes for the deployment in force."""
