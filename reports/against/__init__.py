"""The simulator against live workers: the same scenario, requests, seed and policy in both."""
