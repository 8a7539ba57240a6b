"""Scenario files: one YAML file, its profile in CSV beside it.

    scenario = load("resnet-variants")            # a built-in one, envs/scenarios/resnet-variants.yaml
    scenario = load("my/own_scenario.yaml")       # any file
    for problem in check("my/own_scenario.yaml"):
        print(problem)                            # FILE:LINE: where: reason

The fields of the file are those of `envs.scenario.Scenario`, but for `profile` and `capacities` (optional), which are paths
of CSV files relative to the YAML file, as are traces that are files, and for `format`. See docs/scenarios.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from envs.problem import Problem
from envs.profiles import Profile, ProfileError
from envs.scenario import Scenario, with_lone_services
from envs.scenario_checks import Path as PartPath
from envs.scenario_checks import inconsistencies, path_text
from envs.scenario_reasons import is_table, item_type, reason
from envs.versions import refusal
from envs.yaml_lines import YamlFile
from traces.errors import TraceError
from traces.generators import GENERATORS
from traces.readers import read as read_trace
from traces.splits import read_manifest

FOLDER = Path(__file__).parent / "scenarios"
_CSV_FIELDS = ("profile", "capacities")
FORMAT = 1  # of these files; one that says none is of the first


class ScenarioError(ValueError):
    """A scenario file is wrong; the text has one line for each problem.

    Attributes:
        problems: what is wrong, in the order of the file.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def names() -> tuple[str, ...]:
    """Names of the built-in scenarios."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def find(name_or_path: str | Path) -> Path:
    """The file of a scenario: what has a suffix or a folder is a path, anything else the name of a built-in scenario.

    Raises:
        ScenarioError: no built-in scenario of that name.
    """
    path = Path(name_or_path)
    if path.suffix or len(path.parts) > 1:
        return path
    if str(path) not in names():
        near = difflib.get_close_matches(str(path), names(), 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names())}; or give the path of a YAML file"
        raise ScenarioError([Problem(str(path), 0, "", f"no scenario of this name; {hint}")])
    return FOLDER / f"{path}.yaml"


def load(name_or_path: str | Path) -> Scenario:
    """Reads a scenario, by name or from a file. Trace files are not read yet: `check` does.

    Raises:
        ScenarioError: with all that is wrong, line by line.
    """
    scenario, problems = _read(find(name_or_path))
    if scenario is None:
        raise ScenarioError(problems)
    return scenario


def check(name_or_path: str | Path) -> list[Problem]:
    """All that is wrong with a scenario file, its CSV files and its trace files, in the order of the lines."""
    try:
        scenario, problems = _read(find(name_or_path))
    except ScenarioError as error:
        return list(error.problems)
    traces = {load.trace for load in scenario.workload.values()} if scenario else set()
    return problems + [problem for trace in sorted(traces) if Path(trace).suffix for problem in _trace_problems(trace)]


def _read(path: Path) -> tuple[Scenario | None, list[Problem]]:
    file = YamlFile(path)
    if not isinstance(file.data, dict):
        return None, file.problems or [
            Problem(str(path), 1, "", "a scenario is a table of fields: `name: ...`, `services: ...`")]
    if other := refusal("scenario, format", file.data.get("format", FORMAT), FORMAT, "write it anew by docs/scenarios.md"):
        return None, [_problem(file, ("format",), other)]
    problems = list(file.problems)
    profile, csv_problems = _read_profile(file)
    problems += csv_problems
    fields = {name: value for name, value in file.data.items() if name not in (*_CSV_FIELDS, "format")}
    data = with_lone_services({**fields, "workload": _with_trace_files(file, problems), "profile": profile})
    if "workload" not in file.data:
        del data["workload"]
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as errors:
        found = [(error["loc"], reason(error)) for error in errors.errors()] + inconsistencies(_draft(data))
        problems += [_problem(file, where, why) for where, why in found if _told_here(file.data, where)]
        scenario = None
    problems = sorted(set(problems), key=lambda p: (p.file != str(path), p))
    return (None if problems else scenario), problems


def _told_here(data: Mapping[str, Any], where: PartPath) -> bool:
    """False for what is told elsewhere: the whole scenario, the profile, and applications made from lone services."""
    if where[:1] == ("applications",) and len(where) > 1:
        return where[1] in (data.get("applications") or {})
    return where not in ((), ("profile",))


def _problem(file: YamlFile, where: PartPath, why: str) -> Problem:
    return Problem(str(file.path), file.line(where), path_text(where), why)


def _read_profile(file: YamlFile) -> tuple[Profile | None, list[Problem]]:
    """Reads the CSV files that a scenario names."""
    files: dict[str, Path] = {}
    problems = []
    for field in _CSV_FIELDS:
        value = file.data.get(field)
        if isinstance(value, str):
            files[field] = file.path.parent / value
            if not files[field].is_file():
                problems.append(_problem(file, (field,), f"no such file: {files[field]}"))
        elif field in file.data:
            problems.append(_problem(file, (field,), "give the path of a CSV file, relative to this file"))
        elif field == "profile":
            problems.append(_problem(file, (field,), "missing; give the path of a CSV file, relative to this file"))
    if problems:
        return None, problems
    try:
        return Profile.read(files["profile"], files.get("capacities")), []
    except ProfileError as error:
        return None, list(error.problems)


def _with_trace_files(file: YamlFile, problems: list[Problem]) -> Any:
    """The workload, trace files (names with a suffix) taken from the folder of the scenario."""
    workload = file.data.get("workload")
    if not isinstance(workload, dict):
        return workload
    found = {}
    for name, load in workload.items():
        trace = load.get("trace") if isinstance(load, dict) else None
        if isinstance(trace, str) and Path(trace).suffix:
            path = file.path.parent / trace
            load = {**load, "trace": str(path)}
            if not path.is_file():
                problems.append(_problem(file, ("workload", name, "trace"), f"no such file: {path}"))
        elif isinstance(trace, str) and trace not in GENERATORS:
            why = _unknown_trace(trace)
            problems += [_problem(file, ("workload", name, "trace"), why)] if why else []
        found[name] = load
    return found


def _unknown_trace(name: str) -> str:
    """Why a name is neither that of a generator nor of a shared trace; "" where it may be the latter."""
    try:
        known = [*GENERATORS, *read_manifest()]
    except TraceError:  # there is no folder of shared traces here: only a slip of the pen can be told
        near = difflib.get_close_matches(name, GENERATORS, 1)
        return f"unknown trace '{name}'; did you mean '{near[0]}'?" if near else ""
    return "" if name in known else f"unknown trace '{name}'; known: {', '.join(known)}; a file needs its suffix"


def _trace_problems(path: str) -> list[Problem]:
    try:
        read_trace(path)
    except TraceError as error:
        return [Problem(error.file, error.line or 0, "", error.reason)]
    return []


def _draft(data: Mapping[str, Any]) -> Scenario:
    """The scenario as far as its parts are sound in themselves; parts that are not are None."""
    fields: dict[str, Any] = {}
    for name, field in Scenario.model_fields.items():
        value = data.get(name, field.default)
        table, item = is_table(field.annotation), item_type(field.annotation)
        if table and isinstance(value, Mapping):
            fields[name] = {str(key): _sound(item, entry) for key, entry in value.items()}
        elif item and not table and isinstance(value, (list, tuple)):
            fields[name] = tuple(_sound(item, entry) for entry in value)
        else:
            fields[name] = value if name == "profile" else _sound(field.annotation, value)
    return Scenario.model_construct(**fields)


def _sound(annotation: Any, value: Any) -> Any:
    try:
        return _adapter(annotation).validate_python(value)
    except ValidationError:
        return None


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)
