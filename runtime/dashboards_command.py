"""`tidal dashboards`: writes the Grafana dashboard and the alert rules of Prometheus into a folder."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `dashboards` to the command line."""
    parser = commands.add_parser("dashboards", help="write a Grafana dashboard and alert rules for Prometheus")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to; it is made")
    parser.add_argument("--job", default="tidal", help="job_name of Tidal's targets in Prometheus (%(default)s)")
    parser.add_argument("--autoscaler-job", default="tidal-autoscaler", metavar="JOB",
                        help="job_name of the autoscaler (%(default)s)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    import yaml

    from runtime.dashboards.alerts import rules
    from runtime.dashboards.grafana import PROVIDER, dashboard

    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "tidal.json": json.dumps(dashboard(), indent=1) + "\n",
        "provider.yaml": yaml.safe_dump(PROVIDER, sort_keys=False),
        "tidal.rules.yaml": yaml.safe_dump(rules(arguments.job, arguments.autoscaler_job), sort_keys=False, width=120),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        print(folder / name)
    return 0
