"""Calibrated settings, kept beside the baselines: one YAML file a scenario, with the settings of each policy.

The comments at the top of a file say how they were found, so that anyone can find them again, and for which scenario: by its
digest, since settings that were found on another form of it are not calibrated for this one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from baselines.calibrate import Settings
from envs.contract import CONTRACT_VERSION
from envs.digest import digest
from envs.scenario import Scenario

DIGITS = 16  # of a digest, in a file
OUTDATED = "outdated"  # of settings: calibrated for another form of the scenario
FOLDER = Path(__file__).parent / "calibrated"


def path_for(scenario: str) -> Path:
    """Where the settings for a scenario are kept.

    Raises:
        ValueError: the name of the scenario cannot be that of a file.
    """
    if not scenario or Path(scenario).name != scenario:
        raise ValueError(f"a scenario called '{scenario}' has no file of settings of its own")
    return FOLDER / f"{scenario}.yaml"


def read(path: Path) -> dict[str, Settings]:
    """The settings in a file, by policy; no file: none. Policies without settings were calibrated and keep their defaults.

    Raises:
        ValueError: the file is not of this form.
    """
    if not path.is_file():
        return {}
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
        raise ValueError(f"{path}: not a table of settings by policy")
    return {str(policy): {str(name): value for name, value in row.items()} for policy, row in table.items()}


def fitted_to(scenario: Scenario) -> str:
    """What a file's comments say of the scenario that its settings are for."""
    return f"sha256 of the scenario: {digest(scenario)[:DIGITS]}"


def fits(path: Path, scenario: Scenario) -> bool:
    """Whether a file's settings were found on this form of the scenario and contract; True where it does not say."""
    comments = "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    said, contract = re.search(r"sha256 of the scenario: [0-9a-f]+", comments), re.search(r"Contract version (\d+)", comments)
    return ((said is None or said.group() == fitted_to(scenario))
            and (contract is None or int(contract[1]) == CONTRACT_VERSION))


def write(path: Path, header: Iterable[str], settings: Mapping[str, Settings], notes: Mapping[str, str]) -> None:
    """Writes settings; a reader never sees half a file.

    Args:
        path: the file; its folder is made.
        header: lines of comment for the top.
        settings: by policy.
        notes: a line of comment on each policy.

    Raises:
        OSError: the file cannot be written.
    """
    blocks = ["\n".join(f"# {line}".rstrip() for line in header)]
    for policy, row in settings.items():
        text = yaml.safe_dump({policy: row}, sort_keys=False, default_flow_style=None, allow_unicode=True, width=1000)
        blocks.append(f"# {notes[policy]}\n{text.rstrip()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".part")
    scratch.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    scratch.replace(path)
