"""The state of a live cluster, for an operator: what the control API tells, on one screen or as one JSON object."""
