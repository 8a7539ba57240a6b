"""The gateway: requests come in over HTTP, wait, are served in batches by replicas, and each is settled once."""
