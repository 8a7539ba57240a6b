"""A problem of placement from files: a profile with weights, and the requests to plan on.

The profile is the CSV that `tidal profile estimate` writes (latency, `weight_bytes` and `activation_bytes` of each stage), the
requests are arrivals: `arrival_s, model`. A model `bert-1.3b#7` is a copy of `bert-1.3b`, with weights of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from baselines.placement import PlacedModel, PlacementProblem, Stock
from baselines.placement_replay import Requests
from envs.contract import Shape
from envs.profile_table import LATENCY_COLUMNS, read_table
from traces.readers import read_arrivals

COPY = "#"
HELD = ("weight_bytes", "activation_bytes")


class Limit(NamedTuple):
    """A latency SLO: in seconds, or as so many times each model's latency on the fewest devices."""

    value: float
    relative: bool


class PlacedFiles(NamedTuple):
    """What the files say: the problem, and the requests in order of time."""

    problem: PlacementProblem
    requests: Requests


def read(profile: Path, requests: Path, stocks: Mapping[str, Stock], slo: Limit) -> PlacedFiles:
    """Reads both.

    Args:
        profile: the table of latencies; rows of batches above one and of other devices play no part.
        requests: arrivals, with the model that each asks for.
        stocks: devices by type; the first is the one that AlpaServe's search cuts.
        slo: of all models.

    Raises:
        ValueError: a column is missing, a model has no profile on these devices, or nothing arrives.
        TraceError: the requests cannot be read.
    """
    arrivals = read_arrivals(requests)
    if "model" not in arrivals or not len(arrivals):
        raise ValueError(f"{requests}: a placement is planned on requests for several models; give columns arrival_s,model")
    names = sorted(set(arrivals.model))
    known = _profiled(profile, stocks)
    models = []
    for name in names:
        base = name.split(COPY)[0]
        if base not in known:
            raise ValueError(f"{requests} asks for {name}, and {profile} has no {base} on {', '.join(stocks)}; it has "
                             f"{', '.join(known) or 'none'}")
        models.append(_limited(known[base], name, slo))
    first, *others = stocks
    problem = PlacementProblem(tuple(models), *stocks[first], others={device: stocks[device] for device in others})
    asked = np.searchsorted(names, arrivals.model.to_numpy(str))
    return PlacedFiles(problem, Requests(arrivals.arrival_s.to_numpy(np.float64), asked.astype(np.int64)))


def _profiled(path: Path, stocks: Mapping[str, Stock]) -> dict[str, PlacedModel]:
    """The models of a profile by name, without a limit yet."""
    read_table(path, LATENCY_COLUMNS)  # says what is wrong, line by line
    table = pd.read_csv(path, comment="#", skipinitialspace=True)
    missing = [column for column in HELD if column not in table]
    if missing:
        raise ValueError(f"{path} has no column {missing[0]}, but a plan has to fit into memory: `tidal profile estimate` "
                         "writes it, to a measured profile add it")
    table = table[(table.batch == 1) & table.device.isin(list(stocks))]
    found = {}
    for name, rows in table.groupby("variant", sort=False):
        shapes = {Shape(0, int(own.inter_op.iloc[0]), int(own.intra_op.iloc[0]), str(own.device.iloc[0])): own
                  for _, own in rows.sort_values("stage").groupby(["device", "inter_op", "intra_op"])}
        found[str(name)] = PlacedModel(
            str(name), 0.0, {shape: tuple(own.latency_s) for shape, own in shapes.items()},
            {shape: float(own.weight_bytes.max()) for shape, own in shapes.items()}, float(rows.activation_bytes.max()))
    return found


def _limited(model: PlacedModel, name: str, slo: Limit) -> PlacedModel:
    return PlacedModel(name, slo.value * (model.size_s if slo.relative else 1.0), model.latency_s, model.weight_bytes,
                       model.activation_bytes)
