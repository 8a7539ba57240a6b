"""`tidal train` and `tidal evaluate`: train.py and evaluate.py of the checkout, with all that stands behind."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parent.parent


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds both to the command line."""
    for name, text in (("train", "train an agent"), ("evaluate", "play policies against each other, and report")):
        parser = commands.add_parser(name, help=f"{text} ({name}.py)", add_help=False, prefix_chars="\0")  # no option is ours
        parser.add_argument("arguments", nargs="*")
        parser.set_defaults(run=partial(_run, name))


def _run(name: str, arguments: argparse.Namespace) -> NoReturn:
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, str(ROOT / f"{name}.py"), *arguments.arguments])
