"""The case whose models compute: they are timed on this machine, and its scenario follows from that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reports.against.cases import TIMED, Case
from runtime.demo import problem, timings

PEAK_RATIO = 0.5  # of what a ResNet-50 on each core computes at full use


def timed(case: Case, folder: Path, seconds: float) -> Case:
    """The case with the scenario and the models that are written into the folder, for so much load.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    times = timings.measure(problem.MODELS, problem.CORES)
    written = problem.write(folder, times, int(seconds), PEAK_RATIO, TIMED[case.scenario])
    return replace(case, scenario=str(written.path), models=str(written.models))
