"""A model in two stages, each in a process of its own, joined by worlds of two: client -> stage 0 -> stage 1 -> client.

    python examples/worlds/pipeline.py

The client creates a world with each stage, the second stage one with the first. A stage that dies breaks only its two worlds.
"""

import multiprocessing
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from runtime.worlds import State, WorldError, WorldManager


def model(stage: int) -> torch.nn.Module:
    """Half of the layers, with weights that every process makes alike."""
    torch.manual_seed(1)
    layers = [torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.Softmax(dim=-1)]
    return torch.nn.Sequential(*layers[2 * stage : 2 * stage + 2]).eval()


def first_stage(client: str, address_of_second) -> None:
    """Take from the client, compute, pass on."""
    with WorldManager() as manager, torch.inference_mode():
        requests, half = manager.join("requests", 1, client), model(0)
        hidden = manager.join("hidden", 1, address_of_second.recv())
        try:
            while True:
                (batch,) = requests.recv_message(src=0)
                hidden.send_message([half(batch)], dst=0)
        except WorldError:
            return


def second_stage(client: str, tell_address) -> None:
    """Take from the first stage, compute, answer the client."""
    with WorldManager() as manager, torch.inference_mode():
        tell_address.send(manager.address)
        hidden = manager.create("hidden", size=2, wait=False)
        answers, half = manager.join("answers", 1, client), model(1)
        hidden.wait(State.UP)
        try:
            while True:
                (batch,) = hidden.recv_message(src=1)
                answers.send_message([half(batch)], dst=0)
        except WorldError:
            return


def main() -> None:
    """Send batches of several sizes, and compare with the uncut model."""
    processes = multiprocessing.get_context("spawn")
    theirs, ours = processes.Pipe(duplex=False)
    with WorldManager() as manager, torch.inference_mode():
        processes.Process(target=first_stage, args=(manager.address, theirs), daemon=True).start()
        processes.Process(target=second_stage, args=(manager.address, ours), daemon=True).start()
        requests, answers = (manager.create(name, size=2, wait=False) for name in ("requests", "answers"))
        for world in (requests, answers):
            world.wait(State.UP)
        whole = torch.nn.Sequential(model(0), model(1))
        for size in (1, 8, 64, 500):
            batch = torch.randn(size, 64)
            requests.send_message([batch], dst=1)
            (answer,) = answers.recv_message(src=1)
            print(f"batch of {size:3d}: off the uncut model by {float((answer - whole(batch)).abs().max()):.1e}")


if __name__ == "__main__":
    main()
