"""The results of an evaluation as one JSON document: what was asked, what was found, every number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from envs.digest import digest as digest
from envs.digest import plain
from envs.scenario import Scenario
from reports.comparison import Comparison
from reports.record import record
from reports.verdict import verdict


def results(comparison: Comparison, scenario: Scenario, argv: Sequence[str], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """The document.

    Args:
        comparison: the numbers.
        scenario: what was played.
        argv: the program and its arguments.
        evaluation: how it was played: ``load`` (in words), ``window_s``, ``bootstrap`` (``resamples``, ``seed``), and more.
    """
    figures = [
        {**{str(k): v for k, v in row.items()}, "peer": row["peer"] or None} for row in comparison.figures.to_dict("records")
    ]
    played = {
        "windows": comparison.windows.to_dict("records"),
        "seeds": comparison.seeds,
        "reference": comparison.reference,
        **evaluation,
    }
    return record(
        figures,
        argv,
        scenario=describe(scenario),
        evaluation=plain(played),
        verdict=asdict(verdict(comparison)),
        policies=comparison.policies,
        episodes=comparison.runs.drop(columns="slo_slope").to_dict("records"),
    )


def describe(scenario: Scenario) -> dict[str, Any]:
    """What a reader must know of a scenario, and a digest of all of it."""
    return {
        "name": scenario.name,
        "source": scenario.source,
        "digest": digest(scenario),
        "interval_s": scenario.interval_s,
        "weights": scenario.weights.model_dump(),
        "slo_s": {name: a.slo_s for name, a in scenario.applications.items()},
        "currency": scenario.currency,
        "whole_price": scenario.whole_price,
        "budget": {name: d.budget for name, d in scenario.devices.items()},
        "accuracy": {name: v.accuracy for name, v in scenario.variants.items()},
    }
