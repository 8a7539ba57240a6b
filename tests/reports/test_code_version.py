"""The version of the code: it hangs on what is imported, also by what is imported, and on nothing else."""

import pytest

from reports import code_version
from reports.code_version import ROOT, version_of


@pytest.fixture
def house(tmp_path):
    (tmp_path / "room").mkdir()
    texts = {"__init__": "", "one": "import numpy\nfrom room import two\n", "two": "def f():\n    import room.three\n",
             "three": "x = 1\n", "other": "y = 1\n"}
    for name, text in texts.items():
        (tmp_path / f"room/{name}.py").write_text(text)
    return tmp_path


def version(house):
    code_version._digest.cache_clear()
    code_version._imported.cache_clear()
    return version_of(house / "room/one.py", root=house)


def test_it_hangs_on_what_is_imported_however_deep_and_on_nothing_else(house):
    before = version(house)
    (house / "room/other.py").write_text("y = 2\n")
    assert version(house) == before
    (house / "room/three.py").write_text("x = 2\n")
    assert version(house) != before


def test_a_planners_version_knows_the_kernel_and_no_other_planner():
    sources = {path.relative_to(ROOT).as_posix() for path in code_version._imported(ROOT / "baselines/hpa.py", ROOT)}
    assert "envs/contract.py" in sources and not any("oracle" in name for name in sources)
    assert version_of(ROOT / "baselines/hpa.py") != version_of(ROOT / "baselines/mpc.py")
