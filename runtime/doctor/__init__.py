"""What is wrong between a cluster and its autoscaler: metrics, clocks, scrape intervals, names, the control API."""
