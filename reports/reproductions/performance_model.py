"""The performance model against 184 latencies that others measured, of which it was fitted to 15.

The rows are in `performance_model.csv` beside this file: BERT-1.3B on every shape up to 32 V100 and batches up to 16; GPTs in
up to 32 stages; AlpaServe's table 1 and what was recovered of its pipelines; a re-profile on RTX 3090, where shards lose; five
ResNets on a core. Error is the geometric mean of predicted / measured, whichever way round is above 1, less 1. A pick is the
shape of so many devices with the least latency, or with the fastest slowest stage (most throughput).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from baselines.architectures import SIZES, Transformer
from baselines.hardware import MACHINES
from baselines.parallelise import parallelise
from baselines.roofline_fit import Measured
from reports.reproductions.reproduction import Reproduction, Row

TABLE = Path(__file__).with_suffix(".csv")
ERROR, RIGHT = 0.10, 0.85
KEY = ["device", "model", "sequence", "source", "batch", "devices"]


def rows() -> Iterator[Row]:
    """Errors by source, picks by device, and each row off by more than 10 % that was not fitted."""
    table = predicted()
    held_out = table[table.fitted == 0]
    yield Row("All rows that were not fitted", f"{len(held_out)} latencies", "error", error(held_out), 0.0, ERROR,
              note="geometric mean")
    yield Row("All rows that were not fitted", f"{held_out.slowest_s.notna().sum()} slowest stages", "error",
              error(held_out, "slowest_s"), 0.0, ERROR, note="geometric mean")
    right = picks(table)
    yield Row("Picks of the fastest shape", f"{len(right)} picks", "share right", right.right.mean(), 1.0, 1 - RIGHT,
              note="of two to four shapes of equal numbers of devices")
    for (device, what), part in right.groupby(["device", "what"]):
        yield Row("Picks of the fastest shape", f"{device}, {len(part)} picks", f"share right, {what}", part.right.mean())
    yield Row("Picks of the fastest shape", "all picks", "mean loss", right.loss.mean(), note="of latency or throughput")
    for (device, source), part in table.groupby(["device", "source"], sort=False):
        for fitted, rest in part.groupby("fitted"):
            yield Row("Error by source", f"{device}, {source}: {len(rest)} latencies", "error", error(rest),
                      note="fitted to these rows" if fitted else "")
    for row in held_out[np.abs(np.log(held_out.predicted_latency_s / held_out.latency_s)) > np.log(1 + ERROR)].itertuples():
        case = f"{row.model} {row.inter_op}x{row.intra_op} {row.device}, batch {row.batch}"
        yield Row("Rows that are off by more than 10 %", case, "latency", 1e3 * row.predicted_latency_s, 1e3 * row.latency_s,
                  unit="ms", decimals=1, note=row.source)


@cache
def predicted() -> pd.DataFrame:
    """The measured rows, with `predicted_latency_s` and `predicted_slowest_s` beside them."""
    table = pd.read_csv(TABLE, comment="#")
    rows = [measured(row) for row in table.to_dict("records")]
    stages = [parallelise(row.architecture, MACHINES[device], row.inter_op, row.intra_op, row.by_hand).stage_s(row.batch)
              for device, row in zip(table.device, rows)]
    return table.assign(devices=table.inter_op * table.intra_op, predicted_latency_s=[sum(s) for s in stages],
                        predicted_slowest_s=[max(s) for s in stages])


def measured(row: Mapping[Hashable, Any]) -> Measured:
    """A row of the table, its model with the sequence that it was measured at."""
    name, sizes = row["model"], SIZES[row["model"]]
    if isinstance(sizes, Transformer):
        sizes = replace(sizes, sequence=int(row["sequence"]))
    return Measured(sizes.architecture(name, MACHINES[row["device"]].device.element_bytes), row["inter_op"], row["intra_op"],
                    row["batch"], row["latency_s"], bool(row["by_hand"]))


def error(table: pd.DataFrame, column: str = "latency_s") -> float:
    """Geometric mean of the ratio of predicted and measured, above 1, less 1."""
    return float(np.exp(np.nanmean(np.abs(np.log(table[f"predicted_{column}"] / table[column])))) - 1)


def picks(table: pd.DataFrame) -> pd.DataFrame:
    """For each model, batch and number of devices: whether the shape that is predicted to be best is the best.

    Returns:
        Columns device, what ("least latency", "most throughput"), right, loss (of the pick against the best).
    """
    found = []
    for key, group in table.groupby(KEY, dropna=False):
        for what, column in (("least latency", "latency_s"), ("most throughput", "slowest_s")):
            known = group[group[column].notna()]
            if len(known) > 1:
                pick = int(known[f"predicted_{column}"].to_numpy().argmin())
                loss = float(known[column].iloc[pick] / known[column].min() - 1)
                found.append((key[0], what, loss == 0, loss))
    return pd.DataFrame(found, columns=["device", "what", "right", "loss"])


def account(found: Sequence[Row]) -> list[str]:
    """What was fitted, and what the model does not have."""
    return [
        "Fitted: seven constants of v100 to eight rows of BERT-1.3B and two of GPT-6.7B; four of rtx3090 to BERT-1.3B and "
        "6.7B on one device and 1.3B on shards of two and four; one of cpu to ResNet-50. They are in baselines/hardware.py; a "
        "test fits them again. Every pick is among shapes of which one or more were not fitted.",
        "Which terms the model has (a floor for each attention head, traffic for each attention score, rates of links by size "
        "of the group, passes over the logits) was chosen with all rows of the V100 in view, so that its rows are held out "
        "from the constants only; those of the RTX 3090 and the ResNets played no part in that.",
        "Not modelled: mixtures of experts (AlpaServe's MoE rows are left out), kernels that happen to be slow at one size "
        "(batches of two are up to 11 % faster than predicted), what several nodes cost beyond their slower link.",
    ]


REPRODUCTION = Reproduction(
    title="Latencies predicted by a roofline for each operator, against measured ones",
    source="AlpaServe's artefact (Li et al., OSDI 2023) and table 1; a re-profile on RTX 3090; InfAdapter's ResNets",
    aim="a geometric-mean error of at most 10 % on rows that were not fitted, and 85 % right picks of the fastest shape",
    rows=rows,
    account=account,
)
