"""What `benchmarks/live.py` measures, by idea: speed, changes, faults, tenants, the autoscaler; and what it measures with."""
