"""What the autoscaler tells about itself, on its own /metrics.

These series are not of the cluster's contract: have them scraped as a job of their own, `tidal-autoscaler` say.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

TICK_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Meters:
    """The autoscaler's series, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"tidal_autoscaler_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"tidal_autoscaler_{name}", text, registry=self.registry)

        self.decisions = counter("decisions", "Decisions: unchanged, advised, applied, conflict, refused, unknown.", "outcome")
        self.bound = counter("bound_decisions", "Decisions that the envelope changed.")
        self.failures = counter("policy_failures", "Failures: exception, deadline, invalid; baseline.", "cause")
        self.source_failures = counter("source_failures", "Reads of metrics that failed.")
        self.actuator_failures = counter("actuator_failures", "Times that what is in force could not be read.")
        self.journal_failures = counter("journal_failures", "Lines that could not be written to the journal.")
        self.reloads = counter("reloads", "Times that policies and limits were read anew: taken, refused.", "outcome")
        self.skipped = counter("skipped_ticks", "Times of decision that passed without one.")
        self.shadow = counter("shadow_decisions", "Decisions of the shadow policy, by agreement.", "agrees")
        self.leading = gauge("leading", "1: this process leads; 0: it stands by.")
        self.breaker = gauge("breaker_open", "1: the baseline decides in place of the policy.")
        self.blind = gauge("blind", "1: the load is missing or stale, so what is in force stays; 0: it is known.")
        self.age = gauge("observation_age_seconds", "Age of the last observation; NaN: all was missing.")
        self.tick = Histogram("tidal_autoscaler_tick_seconds", "Time from a time of decision until its outcome is known.",
                              buckets=TICK_BUCKETS_S, registry=self.registry)
