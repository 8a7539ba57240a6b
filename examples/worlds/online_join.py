"""A worker joins while another talks: the running world does not notice.

python examples/worlds/online_join.py
"""

import multiprocessing
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch

from runtime.worlds import WorldClosed, WorldError, WorldManager


def echo(name: str, address: str) -> None:
    """Join, and send back whatever comes until the world is over."""
    with WorldManager() as manager:
        world = manager.join(name, 1, address)
        try:
            while True:
                world.send_message(world.recv_message(src=0), dst=0)
        except WorldError:
            return


def talk(world, times: list[tuple[float, float]]) -> None:
    """Round trips, with the time of each."""
    message = [torch.ones(1000)]
    try:
        while True:
            began_s = time.monotonic()
            world.send_message(message, dst=1)
            world.recv_message(src=1)
            times.append((began_s, time.monotonic() - began_s))
            time.sleep(0.002)
    except WorldClosed:
        return


def main() -> None:
    """One world talks; a second comes up beside it; then a third, of the same process."""
    start = multiprocessing.get_context("spawn").Process
    with WorldManager() as manager:
        start(target=echo, args=("first", manager.address), daemon=True).start()
        first, times = manager.create("first", size=2), []
        talker = threading.Thread(target=talk, args=(first, times))
        talker.start()
        time.sleep(1)
        began_s = time.monotonic()
        start(target=echo, args=("second", manager.address), daemon=True).start()
        second = manager.create("second", size=2)
        up_s = time.monotonic()
        print(f"'second' came up in {up_s - began_s:.2f} s, almost all of it the start of a new Python with torch")
        second.send_message([torch.arange(3)], dst=1)
        print(f"'second' answers {second.recv_message(src=1)[0].tolist()}")
        time.sleep(1)
        manager.leave(first)
        talker.join()
    for name, low, high in (("before", 0, began_s), ("while it joined", began_s, up_s), ("after", up_s, float("inf"))):
        took_us = [1e6 * took for at, took in times if low <= at < high]
        print(f"'first', {name:16s}: {len(took_us):4d} round trips, median {np.median(took_us):4.0f} µs")


if __name__ == "__main__":
    main()
