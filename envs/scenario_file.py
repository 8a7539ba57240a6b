"""Scenario files: one YAML file, its profile in CSV beside it.

    scenario = load("resnet-variants")            # a built-in one, envs/scenarios/resnet-variants.yaml
    scenario = load("my/own_scenario.yaml")       # any file
    for problem in check("my/own_scenario.yaml"):
        print(problem)                            # FILE:LINE: where: reason

The fields of the file are those of `envs.scenario.Scenario`, but for `profile` and `capacities` (optional), which are paths
of CSV files relative to the YAML file. See docs/scenarios.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from envs.problem import Problem
from envs.profiles import Profile, ProfileError
from envs.scenario import Part, Scenario, with_lone_services
from envs.scenario_checks import inconsistencies, path_text
from envs.yaml_lines import YamlFile

FOLDER = Path(__file__).parent / "scenarios"
_CSV_FIELDS = ("profile", "capacities")
_Path = tuple[str | int, ...]


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
    """Reads a scenario, by name or from a file.

    Raises:
        ScenarioError: with all that is wrong, line by line.
    """
    scenario, problems = _read(find(name_or_path))
    if scenario is None:
        raise ScenarioError(problems)
    return scenario


def check(name_or_path: str | Path) -> list[Problem]:
    """All that is wrong with a scenario file and its CSV files, in the order of the lines; empty when it can be loaded."""
    try:
        return _read(find(name_or_path))[1]
    except ScenarioError as error:
        return list(error.problems)


def _read(path: Path) -> tuple[Scenario | None, list[Problem]]:
    file = YamlFile(path)
    if not isinstance(file.data, dict):
        reason = "a scenario is a table of fields: `name: ...`, `services: ...`"
        return None, file.problems or [Problem(str(path), 1, "", reason)]
    problems = list(file.problems)
    profile, csv_problems = _read_profile(file)
    problems += csv_problems
    data = with_lone_services({**{k: v for k, v in file.data.items() if k not in _CSV_FIELDS}, "profile": profile})
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as errors:
        for error in errors.errors():
            if error["loc"] and error["loc"] != ("profile",):  # () and the profile are told in full elsewhere
                problems.append(_problem(file, error["loc"], _reason(error)))
        problems += [_problem(file, where, reason) for where, reason in inconsistencies(_draft(data))]
        scenario = None
    # A variant that is wrong in a lone service is wrong in the application made from it too: told once.
    problems = sorted(set(problems), key=lambda p: (p.file != str(path), p))
    return (None if problems else scenario), problems


def _problem(file: YamlFile, where: _Path, reason: str) -> Problem:
    return Problem(str(file.path), file.line(where), path_text(where), reason)


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


def _draft(data: Mapping[str, Any]) -> Scenario:
    """The scenario as far as its parts are sound in themselves; parts that are not are None."""
    fields: dict[str, Any] = {}
    for name, field in Scenario.model_fields.items():
        item = _item_type(field.annotation)
        value = data.get(name, field.default)
        if item and isinstance(value, Mapping):
            fields[name] = {str(key): _sound(item, entry) for key, entry in value.items()}
        elif item and isinstance(value, (list, tuple)):
            fields[name] = tuple(_sound(item, entry) for entry in value)
        else:
            fields[name] = value if name == "profile" else _sound(field.annotation, value)
    return Scenario.model_construct(**fields)


def _sound(annotation: Any, value: Any) -> Any:
    try:
        return TypeAdapter(annotation).validate_python(value)
    except ValidationError:
        return None


def _item_type(annotation: Any) -> Any:
    """The type of the entries of a Mapping[str, X] or a tuple[X, ...]; None for any other type."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is not None and isinstance(origin, type) and issubclass(origin, (Mapping, tuple)):
        return args[1] if issubclass(origin, Mapping) else args[0]
    return None


def _reason(error: Any) -> str:
    """What pydantic found, said to the author of a file."""
    match error["type"]:
        case "missing":
            return "missing"
        case "extra_forbidden":
            known = _fields_at(error["loc"][:-1])
            near = difflib.get_close_matches(str(error["loc"][-1]), known, 1)
            return f"unknown field; did you mean '{near[0]}'?" if near else f"unknown field; known: {', '.join(known)}"
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            return f"{error['msg'][0].lower()}{error['msg'][1:]}, not {error['input']!r}"


def _fields_at(where: _Path) -> list[str]:
    """The fields that the part at a path has."""
    part: Any = Scenario
    for step in where:
        if isinstance(part, type) and issubclass(part, Part):
            part = part.model_fields[str(step)].annotation
        else:
            part = _item_type(part)
    fields = list(part.model_fields) if isinstance(part, type) and issubclass(part, Part) else []
    return [*fields, "capacities"] if part is Scenario else fields


