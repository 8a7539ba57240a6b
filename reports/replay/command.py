"""`evaluate.py --replay SOURCE`: a recorded load in the simulator, and what other policies would have done and cost."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.text import Text

from agents.registry import HINDSIGHT
from envs.scenario import Scenario
from envs.scenario_file import load as load_scenario
from reports.html import publish
from reports.record import plain, record, write
from reports.replay.draws import Doubt
from reports.replay.from_csv import read_csv
from reports.replay.from_journal import read_journal, scenario_of
from reports.replay.from_prometheus import read_prometheus
from reports.replay.guess import guess, stand_in
from reports.replay.guess_file import write as write_guess
from reports.replay.page import page
from reports.replay.play import AGAIN, Counterfactual, Played, make, play
from reports.replay.recording import RecordError, Recording, duration
from reports.replay.schedule import begun, recorded_schedule
from reports.replay.spans import is_relative, moment
from reports.replay.table import Row, record_rows, rows, terminal_table
from reports.replay.verdict import Said, verdict
from reports.results import describe
from reports.table import WIDTH
from runtime.sources.adapter import selected

REPORT = Path("out/replay.html")
GUESS = Path("out/replay-guess")
PROMETHEUS, JOURNAL = "prometheus:", "journal:"
LAST_S = 86_400.0  # of a Prometheus, where --from is not given
POLICIES = ("hpa", "keda", "target-tracking", "infadapter", "order-keep-network", "oracle")
DRAWS, FEW_DRAWS, MANY = 5, 3, 3e6  # fewer where so many requests were recorded: a draw takes longer than it tells
GIVEN = Doubt(0.1, 0.25, "the scenario's service times are taken to be right within 10 %, its load times within 25 % (one "
                         "standard deviation)")  # fmt: skip
NOT_HERE = ("reference", "trace", "split", "windows", "hours", "intervals", "calibrate", "save", "cold_starts", "store")


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> bool:
    """Reads, plays, tells and writes; True: all of it was done.

    Raises:
        ValueError: what was asked does not go together, or the record cannot be used.
        OSError: a file cannot be read or written.
    """
    for name in NOT_HERE:
        if getattr(arguments, name, None) not in (None, False):
            raise ValueError(f"--{name.replace('_', '-')} does not go with --replay")
    began = time.monotonic()
    recording = _read(arguments)
    if arguments.save_load:
        _save_load(recording, arguments.save_load)
    scenario, doubt, guessed = _problem(arguments, recording)
    what, dropped = _plan(arguments, recording, scenario, doubt)
    played = _progress(what, arguments.jobs, began)
    hindsight = [label for label, name in zip(what.labels, what.policies) if name in HINDSIGHT]
    found = rows(recording, what.scenario, played, hindsight)
    said = verdict(found, what.scenario, recording, doubt, guessed, dropped)
    _tell(what, found, said)
    _write(arguments, argv, what, found, said, played)
    return True


def _read(arguments: argparse.Namespace) -> Recording:
    """The recording that was asked for, from --from to --to."""
    source: str = arguments.replay
    if source.startswith(PROMETHEUS):
        now_s = time.time()
        end_s = moment(arguments.end or "now", now_s)
        begin_s = end_s - LAST_S if arguments.begin is None else moment(arguments.begin, now_s)
        if not begin_s < end_s:
            raise ValueError("--from is not before --to")
        select = selected(arguments.select or "")
        return read_prometheus(source.removeprefix(PROMETHEUS), begin_s, end_s, select, arguments.system)
    if arguments.select or arguments.system:
        raise ValueError("--select and --system go with --replay prometheus:URL")
    if source.startswith(JOURNAL):
        path = Path(source.removeprefix(JOURNAL))
        arguments.scenario = arguments.scenario or scenario_of(path)
        recording = read_journal(path, load_scenario(arguments.scenario))
    else:
        recording = read_csv(Path(source))
    dated = math.isfinite(recording.began_s)
    if not dated and not (is_relative(arguments.begin) and is_relative(arguments.end)):
        raise ValueError(f"{recording.source} has no dates (its times are below 1e9 s); give --from and --to as 36h, 90m")
    zero_s = recording.began_s if dated else 0.0
    end_s = zero_s + recording.span_s
    begin_s = zero_s if arguments.begin is None else moment(arguments.begin, end_s)
    return recording.cut(begin_s - zero_s, (moment(arguments.end, end_s) if arguments.end else end_s) - zero_s)


def _save_load(recording: Recording, file: Path) -> None:
    """Writes the load, from where it begins to be known until it ends, as a trace of rates."""
    known = np.flatnonzero(recording.known)
    requests = recording.filled[known[0]:known[-1] + 1] if known.size else np.empty(0)
    pd.DataFrame({"t_s": recording.step_s * np.arange(len(requests)), "requests": requests}).to_csv(file, index=False)


def _problem(arguments: argparse.Namespace, recording: Recording) -> tuple[Scenario, Doubt, tuple[str, ...]]:
    """The scenario that was given, or one guessed from the record; how sure it is, and how it was found."""
    told: tuple[str, ...] = ()
    if arguments.scenario is not None:
        if recording.tokens:
            raise ValueError(f"{recording.source}: an engine with continuous batching has no profile, so no scenario "
                             "describes it; leave --scenario out, and rules on load alone are played")  # fmt: skip
        if arguments.slo is not None:
            raise ValueError("--slo: the scenario has one of its own")
        scenario, doubt = load_scenario(arguments.scenario), GIVEN
    else:
        if arguments.slo is None or not 0 < arguments.slo < math.inf:
            raise ValueError("give --slo SECONDS, or --scenario NAME_OR_FILE")
        found = stand_in(recording) if recording.tokens else guess(recording)
        scenario, doubt = load_scenario(write_guess(found, recording, arguments.slo, GUESS)), found.doubt
        told = (*found.told, f"The guess: {GUESS}/scenario.yaml; correct it and give it by --scenario.")
    if len(scenario.applications) > 1:
        raise ValueError(f"{scenario.name} has several applications; a recording is of one: give a scenario of its own")
    if recording.span_s < 2 * scenario.interval_s:
        raise RecordError(f"{recording.source} lasts {duration(recording.span_s)}, less than two intervals of "
                          f"{scenario.interval_s:g} s")  # fmt: skip
    name, workload = next(iter(scenario.workload.items()))
    playing = workload.model_copy(update={"mean_rps": recording.mean_rps, "scale": None})
    return scenario.with_(workload={name: playing}), doubt, told


def _plan(arguments: argparse.Namespace, recording: Recording, scenario: Scenario,
          doubt: Doubt) -> tuple[Counterfactual, list[str]]:
    """What is played; of the policies that nobody asked for by name, those that can be."""
    intervals = int(recording.span_s / scenario.interval_s + 1e-9)
    schedule = recorded_schedule(recording, scenario, intervals)
    scenario = begun(scenario, schedule)
    asked = arguments.policies
    names = tuple(dict.fromkeys(n.strip() for n in asked.split(",") if n.strip())) if asked else POLICIES
    kept: list[str] = []
    dropped: dict[str, list[str]] = {}  # by reason
    for name in names:
        try:
            make(name, scenario, recording.tokens).reset(scenario)
        except (ValueError, LookupError, ImportError) as error:
            reason = "; ".join(str(error.args[0] if error.args else error).splitlines())
            if asked:
                raise ValueError(f"policy {name}: {reason}") from error
            dropped.setdefault(reason, []).append(name)
            continue
        kept.append(name)
    labels = [Path(n).stem if "/" in n or n.endswith(".zip") else n.rpartition(":")[2] for n in kept]
    if schedule:
        kept, labels = [AGAIN, *kept], [AGAIN, *labels]
    if not kept:
        raise ValueError("--policies names none")
    draws = arguments.seeds or (DRAWS if recording.total < MANY else FEW_DRAWS)
    told = [f"{', '.join(left)} left out: {reason}." for reason, left in dropped.items()]
    return Counterfactual(recording, scenario, doubt, tuple(kept), tuple(labels), tuple(schedule) if schedule else None,
                          draws), told  # fmt: skip


def _progress(what: Counterfactual, jobs: int, began: float) -> list[Played]:
    """Plays, with a line for each part; the rows draw by draw, in the order of the policies."""
    played: list[Played] = []
    left, work, first = sum(part.work for part in what.parts), 0, time.monotonic()
    for part, rows_of_part in play(what, jobs):
        played += rows_of_part
        left, work, now = left - part.work, work + part.work, time.monotonic()
        names = ", ".join(what.labels[place] for place in part.places)
        more = f"; about {duration(round((now - first) * left / work))} more" if left else ""
        print(f"draw {part.draw + 1} of {what.draws}: {names}; {now - began:.0f} s{more}", file=sys.stderr, flush=True)
    return sorted(played, key=lambda one: (one.draw, what.labels.index(one.policy)))


def _tell(what: Counterfactual, found: Sequence[Row], said: Said) -> None:
    """The table and what it says."""
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    console.print(Text.assemble((what.scenario.name, "bold"), "  ", what.recording.told))
    console.print(Text(f"{what.draws} draws of requests and times; a decision each {what.scenario.interval_s:g} s; "
                       "[lowest, highest draw] below", "dim"), "")  # fmt: skip
    console.print(terminal_table(found, what.scenario, console.width), "")
    console.print(Text(said.headline, "bold"))
    for sentence in said.findings:
        console.print(Text(f"- {sentence}"))
    for sentence in said.caveats:
        console.print(Text(f"! {sentence}", style="yellow"))
    console.print()


def _write(arguments: argparse.Namespace, argv: Sequence[str], what: Counterfactual, found: Sequence[Row], said: Said,
           played: Sequence[Played]) -> None:
    recording = what.recording
    told = {"source": recording.source, "told": recording.told, "began_s": recording.began_s, "span_s": recording.span_s,
            "step_s": recording.step_s, "requests": recording.total, "gaps_s": recording.gaps_s, "doubt": what.doubt.told,
            "draws": what.draws, "made": datetime.now(UTC).date().isoformat()}  # fmt: skip
    table = record_rows(found, what.scenario)
    document = record(table, argv, scenario=describe(what.scenario), recording=plain(told), headline=said.headline,
                      findings=list(said.findings), caveats=list(said.caveats))  # fmt: skip
    if arguments.json:
        write(arguments.json, document)
        print(f"every number: {arguments.json}")
    if arguments.csv:
        arguments.csv.parent.mkdir(parents=True, exist_ok=True)
        each = [{"policy": one.policy, "draw": one.draw, "service_time_factor": one.factor, **one.figures} for one in played]
        pd.DataFrame(each).to_csv(arguments.csv, index=False)
        print(f"one row for each policy and draw: {arguments.csv}")
    if not arguments.no_report:
        publish(page(recording, found, said, played, what.scenario, document), arguments.report or REPORT)
