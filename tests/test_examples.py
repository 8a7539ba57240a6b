"""The numbered examples run, and print what docs/cookbook.md says that they print."""

import ast
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
from running import Processes

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = {path.stem[:2]: path for path in sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))}
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
TOLERANCE = {"rel": 0.1, "abs": 0.02}  # other machines add in another order, and a planner may choose a core more


def page():
    """By number, the sections of the cookbook: what is said, and what is printed."""
    text = (ROOT / "docs" / "cookbook.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (\d\d) .*?\n(.*?)^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return {number: (said, printed) for number, said, printed in sections}


def test_the_page_tells_of_each_example_by_its_own_first_line():
    assert list(EXAMPLES) == [f"{number:02}" for number in range(1, 13)] == list(page())
    for number, path in EXAMPLES.items():
        title = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]
        assert f"[examples/{path.name}](../examples/{path.name}): {title}" in page()[number][0]


@pytest.mark.parametrize("number", ["01", "02", "03", "04", "06", "07", "08", "09"])
def test_an_example_prints_what_the_page_says(number, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(EXAMPLES[number])])
    monkeypatch.setattr(sys, "path", [*sys.path])
    runpy.run_path(str(EXAMPLES[number]), run_name="__main__")
    printed, expected = capsys.readouterr().out, page()[number][1]
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", expected).split(), printed
    numbers, wanted = ([float(x) for x in NUMBER.findall(text)] for text in (printed, expected))
    assert numbers == pytest.approx(wanted, **TOLERANCE), printed


@pytest.fixture
def run():
    """Runs an example to its end, as a process of its own; what it printed."""
    processes = Processes()

    def to_its_end(number, *arguments):
        process = processes.python(str(EXAMPLES[number].relative_to(ROOT)), *arguments)
        assert process.wait(300) == 0, process.text
        return process.text

    yield to_its_end
    processes.close()


@pytest.mark.slow
def test_ppo_learns(run):
    before, after = map(float, re.findall(r"reward (\S+)", run("05", "20000")))
    assert after > before + 0.05


@pytest.mark.slow
def test_one_world_breaks_and_the_other_does_not(run):
    told = run("10")
    killed, broke = told.index("worker A is killed"), told.index("world 'worker A' broke")
    assert killed < broke and "worker B says" in told[broke:] and "worlds that live: ['worker B']" in told


@pytest.mark.slow
def test_a_cluster_scaled_by_hand_answers_throughout(run):
    told = run("11")
    before, after = map(ast.literal_eval, re.findall(r"answers: (.*)", told))
    assert set(before) == {"large"} and set(after) == {"large", "small"}
    assert re.findall(r"replica \d+: (.*)", told) == ["small, ready", "small, ready"]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("prometheus"), reason="no prometheus: install the package prometheus")
def test_a_service_is_advised_on_through_its_prometheus(run):
    loads = [float(text) for text in re.findall(r"load (\S+) req/s: \d x large", run("12"))]
    assert len(loads) == 3 and all(10 < load < 60 for load in loads[1:])
