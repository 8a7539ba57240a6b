"""The control API: how an operator, an autoscaler and tenants see and steer a live cluster."""
