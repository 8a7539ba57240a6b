"""The live cluster: replicas, the gateway in front of them, and what starts and stops them."""
