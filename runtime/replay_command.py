"""`tidal replay`: an open-loop load from a trace against a live service, and what became of it."""

from __future__ import annotations

import argparse
import asyncio
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from runtime.load_generator import Played

FAILED = 1


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `replay` to the command line."""
    parser = commands.add_parser("replay", help="send a trace's load to a live service, open loop")
    parser.add_argument("--url", default="http://127.0.0.1:8000",
                        help="of the gateway (%(default)s); with --body of any HTTP endpoint")
    parser.add_argument("--body", type=Path, metavar="FILE", help="JSON to post to it, where it is not Tidal's gateway")
    parser.add_argument("--scenario", required=True, metavar="NAME_OR_FILE", help="its workload and SLO")
    parser.add_argument("--service", metavar="NAME", help="what is asked (the scenario's first application)")
    parser.add_argument("--trace", metavar="NAME_OR_FILE", help="another trace, at the scenario's mean load")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (%(default)s)")
    parser.add_argument("--from", dest="start_s", type=float, default=0.0, metavar="S",
                        help="into the trace (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the arrivals (%(default)s)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds the tenant's bearer token")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers there")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write one row for each request there")
    parser.set_defaults(run=partial(_run, parser))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if not 0 < arguments.seconds < float("inf"):
        parser.error("--seconds: give a number above 0")
    import aiohttp

    from envs.loads import open_loads
    from envs.scenario_file import load
    from runtime.load_generator import LATE_S, play, post
    from traces.samplers import draw

    scenario = load(arguments.scenario)
    service = arguments.service or next(iter(scenario.applications))
    if service not in scenario.applications:
        raise ValueError(f"no application '{service}' in {scenario.name}; it has {', '.join(scenario.applications)}")
    loads = open_loads(scenario, arguments.trace, "val", arguments.start_s + arguments.seconds)
    due_s = draw(loads.loads[service], arguments.seed, arguments.start_s, arguments.seconds)
    token = arguments.token_file.read_text(encoding="utf-8").strip() if arguments.token_file else ""
    print(f"{service}: {len(due_s)} requests in {arguments.seconds:g} s; {loads.told}", flush=True)
    try:
        sending = post(arguments.url, arguments.body.read_bytes(), due_s, token) if arguments.body else play(
            arguments.url, service, due_s, token)  # fmt: skip
        played = asyncio.run(sending)
    except aiohttp.ClientError as error:
        raise ConnectionError(f"{arguments.url}: {error}") from error
    if arguments.csv:
        _rows(played).to_csv(arguments.csv, index=False)
    told = _figures(played, scenario.applications[service].slo_s)
    if arguments.json:
        arguments.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if not told["kept_up"]:
        print(f"tidal: {played.late_share:.0%} of the requests were sent more than {LATE_S * 1e3:g} ms late: this machine\n"
              "could not keep up, so nothing is said about the service. Send less, or from another machine")
        return FAILED
    _tell(told)
    return 0


def _figures(played: Played, slo_s: float) -> dict[str, Any]:
    """What became of the requests. Of a load that was sent late, times say nothing about the service: they are left out."""
    import numpy as np

    from runtime.load_generator import LATE_SHARE

    count, answered = len(played.status), int(np.sum(played.status == 200))
    kept_up = played.late_share <= LATE_SHARE
    late = int(np.sum(played.latency_s > slo_s)) if kept_up else None
    quantiles_s = np.percentile(played.latency_s, [50, 95, 99]).tolist() if answered and kept_up else [None] * 3
    return {
        "requests": count, "answered": answered, "late": late, "slo_s": slo_s,
        "other_statuses": {str(s): int(np.sum(played.status == s)) for s in sorted(set(played.status.tolist()) - {200})},
        "served_by": dict(played.served_by.most_common()),
        **dict(zip(("p50_s", "p95_s", "p99_s"), quantiles_s)),
        "began_s": played.began_s, "kept_up": kept_up, "sent_late_ratio": played.late_share, "client_cpu_s": played.cpu_s,
    }  # fmt: skip


def _tell(told: dict[str, Any]) -> None:
    """Prints the figures."""
    count, answered, late = told["requests"], told["answered"], told["late"]
    shown = {"0": "no answer", "429": "over quota", "503": "rejected or dropped"}
    print(f"answered   {answered} of {count}, {late} of them later than the SLO of {told['slo_s']:g} s")
    for status, number in told["other_statuses"].items():
        print(f"           {number} {shown.get(status, '')} (status {status})")
    print(f"violations {(count - answered + late) / max(count, 1):.2%}")
    if answered:
        print("latency    " + ", ".join(f"{name} {1e3 * told[f'{name}_s']:.1f} ms" for name in ("p50", "p95", "p99")))
    print("served by  " + ", ".join(f"{variant} {number}" for variant, number in told["served_by"].items()))
    cpu_ms = 1e3 * told["client_cpu_s"] / max(count, 1)
    print(f"client     {told['sent_late_ratio']:.2%} sent late, {cpu_ms:.2f} ms of CPU a request")


def _rows(played: Played) -> pd.DataFrame:
    """One row for each request; times in seconds since the start."""
    import pandas as pd

    return pd.DataFrame({"due_s": played.due_s, "sent_s": played.sent_s, "done_s": played.done_s, "status": played.status,
                         "variant": played.variant})  # fmt: skip
