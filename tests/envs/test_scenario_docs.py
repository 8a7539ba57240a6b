"""docs/scenarios.md tells every field of a scenario with its default, and its examples are true."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from envs import scenario
from envs.scenario import Part, Scenario
from envs.scenario_file import check
from traces.generators import GENERATORS

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGE = (ROOT / "docs" / "scenarios.md").read_text()
PARTS = {part.__name__: part for part in Part.__subclasses__() if part.__module__ == scenario.__name__}


def rows(part):
    """The table of a part: field -> [unit, default, meaning]."""
    section = re.search(rf"^### {part}\n(.*?)(?=^### |\Z)", PAGE, re.M | re.S).group(1)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in cells}


def default_text(field):
    """How the page writes a default; None where it says it in words."""
    value = field.default
    if field.is_required():
        return "required"
    if isinstance(value, Part) or value == scenario.Device.model_fields["memory_bytes"].default:
        return None
    if isinstance(value, (tuple, Mapping)):
        return None if value else "empty"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else f"{value:g}" if isinstance(value, (int, float)) else value


@pytest.mark.parametrize("part", PARTS)
def test_every_field_is_documented_with_its_default(part):
    table, fields = rows(part), PARTS[part].model_fields
    assert list(table) == [*fields, "capacities"] if PARTS[part] is Scenario else list(table) == list(fields)
    wrong = {name: default_text(field) for name, field in fields.items() if default_text(field) not in (None, table[name][1])}
    assert wrong == {}
    units = {"_s": "s", "_bytes": "bytes", "_rps": "req/s", "_ratio": "ratio"}
    for name in fields:
        suffix = next((s for s in units if name.endswith(s)), None)
        assert suffix is None or table[name][0] == units[suffix]


def test_every_generator_is_named():
    assert re.findall(r"`([a-z-]+)`", rows("Workload")["trace"][2].split(")")[0]) == list(GENERATORS)


def test_the_problems_shown_are_those_that_check_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, table = ((EXAMPLES / name).read_text() for name in ("own_scenario.yaml", "own_profile.csv"))
    wrong = text.replace("accuracy: 0.90", "accuracy: 90").replace("[large, small], slo", "[large, tiny], slo")
    Path("my.yaml").write_text(wrong)
    Path("own_profile.csv").write_text(table.replace("0.070", "-1"))
    shown = re.findall(r"^    ((?:my\.yaml|own_profile\.csv):.*)$", PAGE, re.M)
    assert [str(problem) for problem in check("my.yaml")] == shown
