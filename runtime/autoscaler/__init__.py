"""The autoscaler process: source, policy, envelope, actuator; journal first, then act."""
