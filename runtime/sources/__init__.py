"""Metric sources: from what a cluster exports to the contract's `Observation`."""
