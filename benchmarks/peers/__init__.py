"""Other simulators of the same clusters, run beside ours."""
