"""Grafana dashboard and Prometheus alert rules of a Tidal cluster and its autoscaler, made from the metric contract."""
