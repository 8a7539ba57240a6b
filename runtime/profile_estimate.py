"""`tidal profile estimate`: a profile from a model's operators and a device's roofline, where nothing was measured."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from baselines.hardware import Machine
    from baselines.parallelise import ParallelModel

BATCHES = "1,2,4,8,16"


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb."""
    estimate = verbs.add_parser("estimate", help="print the profile that a model's operators have on a device's roofline")
    estimate.add_argument("models", nargs="+", metavar="MODEL", type=_named, help="a name (bert-1.3b, resnet50, ...), or "
                          "NAME=KIND:SIZE=..,SIZE=.. (KIND: transformer, resnet, recommender)")
    estimate.add_argument("--device", required=True, help="v100, rtx3090, t4, a100, h100 or cpu (one core)")
    estimate.add_argument("--shapes", default=[(1, 1)], type=_shapes, help="stages x shards: 1x1,4x1,2x2 (default: 1x1)")
    estimate.add_argument("--batches", default=BATCHES, type=_batches, help=f"default: {BATCHES}")
    estimate.add_argument("--by-hand", action="store_true", help="as many layers for each stage")
    estimate.add_argument("--out", type=Path, metavar="FILE", help="write the profile there, not to standard output")
    estimate.set_defaults(run=_run)


def _named(text: str) -> tuple[str, str]:
    name, equals, description = text.partition("=")
    return (text, text) if not equals else (name, description)


def _shapes(text: str) -> list[tuple[int, int]]:
    try:
        shapes = [(int(stages), int(shards)) for stages, shards in (part.split("x") for part in text.split(","))]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of shapes such as 1x1,4x1,2x2") from None
    if any(min(shape) < 1 for shape in shapes):
        raise argparse.ArgumentTypeError("a shape has at least one stage and one shard")
    return shapes


def _batches(text: str) -> list[int]:
    try:
        sizes = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of batch sizes such as {BATCHES}") from None
    if sizes[0] < 1:
        raise argparse.ArgumentTypeError("a batch is at least 1")
    return sizes


def _run(arguments: argparse.Namespace) -> int:
    from baselines.architectures import architecture  # pandas and scipy: not for `tidal --help`
    from baselines.hardware import machine
    from baselines.parallelise import parallelise
    from envs.contract import CPU
    from envs.profile_table import LATENCY_COLUMNS

    on = machine(arguments.device)
    if on.device.name == CPU and arguments.shapes != [(1, 1)]:
        raise ValueError("a replica on cpu has one stage on each of its cores; leave out --shapes")
    lines = [f"# Latency (s), estimated: rooflines of {on.device.name} ({on.device.source}), link {on.link.name}. Made by:",
             f"# {_command(arguments)}", ",".join([*LATENCY_COLUMNS, "weight_bytes", "activation_bytes"])]
    for name, description in arguments.models:
        model = architecture(description, on.device.element_bytes)
        for stages, shards in arguments.shapes:
            plan = parallelise(model, on, stages, shards, arguments.by_hand)
            for batch in arguments.batches:
                lines += _rows(name, plan, on, batch)
    text = "\n".join(lines) + "\n"
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


def _command(arguments: argparse.Namespace) -> str:
    models = " ".join(name if name == description else f"{name}={description}" for name, description in arguments.models)
    shapes = ",".join(f"{stages}x{shards}" for stages, shards in arguments.shapes)
    return (f"tidal profile estimate {models} --device {arguments.device} --shapes {shapes} "
            f"--batches {','.join(map(str, arguments.batches))}{' --by-hand' if arguments.by_hand else ''}")


def _rows(name: str, plan: ParallelModel, on: Machine, batch: int) -> Iterator[str]:
    """One for each stage; none where the batch does not fit. Either way a line for the reader."""
    stage_s, cpu = plan.stage_s(batch), on.device.name == "cpu"
    held = max(plan.weight_bytes) + batch * plan.activation_bytes
    told = f"{name} {plan.inter_op}x{plan.intra_op} {on.device.name}, batch {batch}: {1e3 * sum(stage_s):.4g} ms, " \
           f"{batch / max(stage_s):.4g} req/s, {held / 1e9:.3g} GB of a device's {on.device.memory_bytes / 1e9:g}"
    if held > on.device.memory_bytes:
        print(f"{told}: does not fit, left out", file=sys.stderr)
        return
    print(told, file=sys.stderr)
    for stage, seconds in enumerate(stage_s):
        yield (f"{name},{on.device.name},{'' if cpu else 0},{plan.inter_op},{plan.intra_op},{batch},{stage},{seconds:.6g},"
               f"{plan.weight_bytes[stage]:.0f},{plan.activation_bytes:.0f}")
