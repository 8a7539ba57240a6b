"""What a live worker runs: real models by stage and rank, and emulated replicas. Importing this room loads no torch."""
