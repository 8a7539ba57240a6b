"""A Ray cluster of three nodes as a process: `ray_nodes.py CORES`, until its standard input is closed.

Each node has an address of its own, so that workers must say where they are. The first one is the head. Writes
`cluster ADDRESS`; for each line `kill N`, once all processes of that node are gone, `killed N`; for each `free`, `free CORES`.
"""

import logging
import sys

import ray
from ray.cluster_utils import Cluster

MEMORY_BYTES = 80 * 2**20


def main(cores):
    cluster = Cluster(shutdown_at_exit=True)
    nodes = [cluster.add_node(node_ip_address=f"127.0.0.{2 + n}", num_cpus=cores, object_store_memory=MEMORY_BYTES,
                              include_dashboard=False, include_log_monitor=False) for n in range(3)]
    ray.init(cluster.address, log_to_driver=False, logging_level=logging.WARNING)
    print("cluster", cluster.address, flush=True)
    for line in sys.stdin:
        word, *number = line.split()
        if word == "kill":
            cluster.remove_node(nodes[int(number[0])], allow_graceful=False)
            print("killed", number[0], flush=True)
        else:
            print("free", int(ray.available_resources().get("CPU", 0)), flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
