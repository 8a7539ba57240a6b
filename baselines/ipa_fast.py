"""IPA on two time scales: replicas as it plans them, routes at every decision over what is ready."""

from __future__ import annotations

from baselines.ipa import IPA
from baselines.two_time_scales import TwoTimeScales


class FastIPA(TwoTimeScales):
    """IPA on two time scales."""

    slow = IPA
