"""What the protocol plays: sources of load with their own training and validation spans, cold starts, sizes.

Everything that a number hangs on is fixed here rather than on a command line, so that it cannot be got wrong: training and
calibration see training spans only, what is reported was played on validation spans, and each source stands by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from agents.randomise import with_cold_start
from envs.loads import Loads, open_loads
from envs.scenario import Scenario
from envs.scenario_file import load as load_scenario
from traces.generators import GENERATORS
from traces.splits import Split

COLD_STARTS_S = (10.0, 30.0, 60.0, 120.0, 300.0)
TRIED = 200  # settings that a planner tries in reward tables, where it fits them, before the best few go to the simulator


@dataclass(frozen=True)
class Source:
    """Where load comes from.

    Attributes:
        name: in tables.
        train, val: traces whose training and validation parts are used; one trace, but for NASA, whose July is all training
            and whose August is all validation.
        judged: whether a verdict may be given: the validation part lasts a day or more, and tells of seconds or minutes.
    """

    name: str
    train: str
    val: str
    judged: bool


JUDGED = (
    Source("twitter", "twitter_2021", "twitter_2021", True),
    Source("nasa", "nasa_1995_jul", "nasa_1995_aug", True),
    Source("worldcup", "worldcup_1998", "worldcup_1998", True),
    Source("alibaba", "alibaba_genai_2024", "alibaba_genai_2024", True),
)
SOURCES = len(JUDGED)  # whose loads, tables and windows are kept, in whatever order cells are asked for


@dataclass(frozen=True)
class Sizes:
    """How much is played.

    Attributes:
        calls: of the simulator, to calibrate each planner in each cell.
        tuning_intervals: length of a window of calibration.
        windows: of validation load, spread evenly.
        intervals: length of each of them.
        seeds: of requests, for each window.
        full: whether this is the protocol's own size; below it no verdict is given.
    """

    calls: int
    tuning_intervals: int
    windows: int
    intervals: int
    seeds: int
    full: bool

    @property
    def told(self) -> str:
        """In words."""
        name = "protocol size" if self.full else "reduced size, no verdicts"
        return (f"{name}: {self.calls} simulator calls of {self.tuning_intervals} intervals to calibrate each planner in each "
                f"cell ({TRIED} settings in reward tables before), "
                f"{self.windows} windows of {self.intervals} intervals x {self.seeds} seed{'s' * (self.seeds > 1)}")


FULL = Sizes(100, 40, 24, 120, 1, True)
QUICK = Sizes(30, 40, 6, 60, 1, False)
QUICK_COLD_STARTS_S = (10.0, 120.0)


def sized(base: Sizes, **wishes: int | None) -> Sizes:
    """Sizes with some changed; what is below the protocol's own in anything is not full."""
    wanted: dict[str, Any] = {name: value for name, value in wishes.items() if value is not None}
    changed = replace(base, **wanted)
    enough = all(getattr(changed, name) >= getattr(FULL, name) for name in ("calls", "windows", "intervals", "seeds"))
    return replace(changed, full=enough)


def sources(names: Sequence[str]) -> list[Source]:
    """Sources by name: those that are judged by their short names, any other trace or generator by its own, not judged."""
    known = {name: s for s in JUDGED for name in (s.name, s.train, s.val)}
    return list(dict.fromkeys(known.get(name, Source(name, name, name, False)) for name in names))


def generated(scenario: Scenario) -> list[Source]:
    """What stands in where there are no shared traces: the scenario's own generators."""
    names = dict.fromkeys(w.trace for w in scenario.workload.values() if w.trace in GENERATORS)
    return [Source(name, name, name, False) for name in names]


class Weighting(NamedTuple):
    """What the reward subtracts for cost and for violations, where its accuracy counts as in the scenario."""

    cost: float
    slo: float

    @property
    def told(self) -> str:
        """In words, short."""
        return f"cost × {self.cost:g}, violations × {self.slo:g}"


@dataclass(frozen=True)
class Cell:
    """One source at one cold start, with the scenario's own weights or others."""

    scenario: str
    source: Source
    cold_start_s: float
    weighting: Weighting | None = None

    @property
    def told(self) -> str:
        """In words, short."""
        return f"{self.source.name}, {self.cold_start_s:g} s" + (f", {self.weighting.told}" if self.weighting else "")

    @property
    def at_any_cold_start(self) -> Cell:
        """What cells of one source have in common: the cell whose replicas load at once."""
        return replace(self, cold_start_s=0.0)

    def described(self) -> dict[str, Any]:
        """As plain data; the scenario's own weights go without saying."""
        told = {"scenario": self.scenario, "source": asdict(self.source), "cold_start_s": self.cold_start_s}
        return {**told, "weighting": list(self.weighting)} if self.weighting else told

    def problem(self) -> Scenario:
        """The scenario with this cold start for every variant, and these weights; all else, its name too, stays."""
        return _problem(self.scenario, self.cold_start_s, self.weighting)

    def loads(self, split: Split, needed_s: float) -> Loads:
        """Its training or validation load, at the scenario's mean load."""
        trace = self.source.train if split == "train" else self.source.val
        return _opened(self.scenario, trace, split, needed_s)


@lru_cache
def _problem(scenario: str, cold_start_s: float, weighting: Weighting | None) -> Scenario:
    found = with_cold_start(load_scenario(scenario), cold_start_s)
    return found.with_(weights=found.weights.model_copy(update=weighting._asdict())) if weighting else found


@lru_cache(maxsize=2 * SOURCES)  # training and validation parts
def _opened(scenario: str, trace: str, split: Split, needed_s: float) -> Loads:
    return open_loads(load_scenario(scenario), trace, split, needed_s)
