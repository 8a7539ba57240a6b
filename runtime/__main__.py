"""`tidal`, the command line: `python -m runtime`, or `tidal` in the environment that `make setup` makes.

Exit codes: 0 all is well, 1 the command failed, 2 it was called wrongly. A user's mistake is told in one line each.
"""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from runtime import (
    autoscale_command,
    calibrate_command,
    chaos_command,
    dashboards_command,
    doctor_command,
    explain_command,
    offline_commands,
    placement_command,
    profile_command,
    replay_command,
    scenario_command,
    serve_command,
    status_command,
)

FAILED = 1
COMMANDS = (scenario_command, profile_command, placement_command, serve_command, autoscale_command, replay_command,
            status_command, calibrate_command, doctor_command, explain_command, chaos_command,
            dashboards_command, offline_commands)
"""A command is a module with `add(commands)`, which adds its parser and sets `run`, a function from arguments to exit code."""


def version() -> str:
    """The version of this checkout, from pyproject.toml."""
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(text)["project"]["version"])


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(prog="tidal", description="An autoscaler for ML-inference serving that learns.")
    top.add_argument("--version", action="version", version=f"tidal {version()}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Raises:
        SystemExit: code 2 for wrong arguments; code 0 after --help or --version.
    """
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - flushed into at exit
        return FAILED
    except (OSError, ValueError) as error:
        print(f"tidal: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
