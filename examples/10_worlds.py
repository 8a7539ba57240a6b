"""The paper's failure demo: a leader with two workers, one world each; one worker is killed, the other never notices.

    python examples/10_worlds.py

With one process group of three, as plain `torch.distributed` has it, the first death would end all communication.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from runtime.worlds import State, WorldBroken, WorldManager


def worker(name: str, address: str) -> None:
    """Join the leader in a world of our own, and send it something ten times a second."""
    with WorldManager() as manager:
        world = manager.join(name, 1, address)
        for number in range(100):
            world.send(torch.tensor([float(number)]), dst=0)
            time.sleep(0.1)


def listen(world, began_s: float) -> None:
    """Print what comes, until the world is over."""
    into = torch.empty(1)
    try:
        while True:
            world.recv(into, src=1)
            print(f"{time.monotonic() - began_s:5.2f} s  {world.name} says {into.item():.0f}")
    except WorldBroken as error:
        print(f"{time.monotonic() - began_s:5.2f} s  {error}")


def main() -> None:
    """Two workers; one is killed after a second, the other goes on for another."""
    start = multiprocessing.get_context("spawn").Process
    with WorldManager() as manager:
        names = ("worker A", "worker B")
        processes = [start(target=worker, args=(name, manager.address), daemon=True) for name in names]
        for process in processes:
            process.start()
        worlds = [manager.create(name, size=2, wait=False) for name in names]
        for world in worlds:
            world.wait(State.UP)
        began_s = time.monotonic()
        listeners = [threading.Thread(target=listen, args=(world, began_s)) for world in worlds]
        for listener in listeners:
            listener.start()
        time.sleep(1)
        print(f"{time.monotonic() - began_s:5.2f} s  --- worker A is killed (kill -9) ---")
        os.kill(processes[0].pid, signal.SIGKILL)
        time.sleep(1)
        alive = [world.name for world in manager.list()]
        print(f"{time.monotonic() - began_s:5.2f} s  --- enough; worlds that live: {alive} ---")
        processes[1].terminate()
        for listener in listeners:
            listener.join()


if __name__ == "__main__":
    main()
