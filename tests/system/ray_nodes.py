"""A Ray cluster of three nodes as a process: `ray_nodes.py CORES`, until its standard input is closed.

Each node has an address of its own, so that workers must say where they are; with `in_namespaces.sh` also its own network.
The first one is the head; without it `free` cannot be told. Writes `cluster ADDRESS`; for each line `kill N`, once all
processes of that node are gone, `killed N`; for each `free`, `free CORES`.
"""

import contextlib
import ctypes
import logging
import os
import sys

import ray
from ray.cluster_utils import Cluster

MEMORY_BYTES = 80 * 2**20
NAMESPACES = [name for name in os.environ.get("TIDAL_NAMESPACES", "").split(",") if name]
NETWORK = "10.77.0" if NAMESPACES else "127.0.0"


@contextlib.contextmanager
def host(n):
    """What is started within is on that host: children have the network of the thread that starts them."""
    if NAMESPACES:
        enter(f"/var/run/netns/{NAMESPACES[n]}")
    try:
        yield
    finally:
        if NAMESPACES:
            enter(f"/var/run/netns/{NAMESPACES[0]}")


def enter(namespace):
    with open(namespace) as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0):  # Python has it from 3.12 on
            raise OSError(ctypes.get_errno(), f"{namespace}: {os.strerror(ctypes.get_errno())}")


def main(cores):
    cluster, nodes = Cluster(shutdown_at_exit=True), []
    for n in range(3):
        with host(n):
            nodes.append(cluster.add_node(
                node_ip_address=f"{NETWORK}.{2 + n}", num_cpus=cores, object_store_memory=MEMORY_BYTES,
                include_dashboard=False, include_log_monitor=False))
    ray.init(cluster.address, log_to_driver=False, logging_level=logging.WARNING)
    print("cluster", cluster.address, flush=True)
    for line in sys.stdin:
        word, *number = line.split()
        if word == "kill":
            if number == ["0"]:
                ray.shutdown()  # we are connected through it
            cluster.remove_node(nodes[int(number[0])], allow_graceful=False)
            print("killed", number[0], flush=True)
        else:
            print("free", int(ray.available_resources().get("CPU", 0)), flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
