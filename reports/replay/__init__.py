"""A user's own record of load, played in the simulator: what other policies would have done and cost."""
