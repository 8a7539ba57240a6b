"""Whole and parted networks for tests: run in stages, over ranks in threads, and as one state dict."""

import threading

import torch

from runtime.models.model import Alone, Placement
from runtime.models.network import NetworkModel


class Ranks:
    """Ranks of a stage in threads of one process: each `all_reduce` waits for all."""

    def __init__(self, ranks):
        self.barrier = threading.Barrier(ranks, timeout=30)
        self.given = [None] * ranks
        self.calls = 0

    def of(self, rank):
        return Member(self, rank)


class Member:
    def __init__(self, ranks, rank):
        self.ranks, self.rank = ranks, rank

    def all_reduce(self, tensor):
        self.ranks.given[self.rank] = tensor.clone()
        self.ranks.barrier.wait()
        tensor.copy_(torch.stack(self.ranks.given).sum(0))
        self.ranks.calls += self.rank == 0
        self.ranks.barrier.wait()


def whole(network, **settings):
    """The uncut model, loaded."""
    model = NetworkModel(network, Placement(), Alone(), **settings)
    model.load()
    return model


def run_parted(network, tensors, stages, ranks, **settings):
    """The answer of a network cut into stages and shared by ranks; every rank's answer is checked to be the same."""
    for stage in range(stages):
        group = Ranks(ranks)
        answers = [None] * ranks

        def run(rank, tensors=tensors, stage=stage, group=group, answers=answers):
            placement = Placement(stage, stages, rank, ranks)
            model = NetworkModel(network, placement, group.of(rank), **settings)
            model.load()
            answers[rank] = model.run(tensors)

        threads = [threading.Thread(target=run, args=(rank,)) for rank in range(ranks)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(torch.equal(a, b) for answer in answers for a, b in zip(answer, answers[0], strict=True))
        tensors = answers[0]
    return tensors


def state_dict(network, rank=0, ranks=1, **settings):
    """All tensors of a network (or of one rank of it) by name."""
    model = NetworkModel(network, Placement(rank=rank, intra_op=ranks), Alone(), **settings)
    model.load()
    blocks = network.blocks(Alone(), rank, ranks)
    return {block.prefix + name: tensor for block, module in zip(blocks, model._module.row, strict=True)
            for name, tensor in module.state_dict().items()}


def parameters(network):
    """How many parameters a network has, without holding any."""
    with torch.device("meta"):
        return sum(p.numel() for block in network.blocks(Alone(), 0, 1) for p in block.make().parameters())
