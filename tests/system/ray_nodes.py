"""A Ray cluster of three nodes as a process: `ray_nodes.py CORES`, until its standard input is closed.

Each node has an address of its own, so that workers must say where they are. Writes `cluster ADDRESS`, and for each line
`kill N` that it reads `killed N`, once all processes of that node are gone. The first node is the head.
"""

import sys

from ray.cluster_utils import Cluster

MEMORY_BYTES = 80 * 2**20


def main(cores):
    cluster = Cluster(shutdown_at_exit=True)
    nodes = [cluster.add_node(node_ip_address=f"127.0.0.{2 + n}", num_cpus=cores, object_store_memory=MEMORY_BYTES,
                              include_dashboard=False, include_log_monitor=False) for n in range(3)]
    print("cluster", cluster.address, flush=True)
    for line in sys.stdin:
        number = int(line.removeprefix("kill "))
        cluster.remove_node(nodes[number], allow_graceful=False)
        print("killed", number, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
