"""`tidal replay`: an open-loop load from a trace against a live service, and what became of it."""

from __future__ import annotations

import argparse
import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

FAILED = 1


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `replay` to the command line."""
    parser = commands.add_parser("replay", help="send a trace's load to a live service, open loop")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the gateway (%(default)s)")
    parser.add_argument("--scenario", required=True, metavar="NAME_OR_FILE", help="its workload and SLO")
    parser.add_argument("--service", metavar="NAME", help="what is asked (the scenario's first application)")
    parser.add_argument("--trace", metavar="NAME_OR_FILE", help="another trace, at the scenario's mean load")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (%(default)s)")
    parser.add_argument("--from", dest="start_s", type=float, default=0.0, metavar="S",
                        help="into the trace (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the arrivals (%(default)s)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds the tenant's bearer token")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers there")
    parser.set_defaults(run=partial(_run, parser))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if not 0 < arguments.seconds < float("inf"):
        parser.error("--seconds: give a number above 0")
    import aiohttp

    from envs.loads import open_loads
    from envs.scenario_file import load
    from runtime.load_generator import LATE_S, LATE_SHARE, play
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
        played = asyncio.run(play(arguments.url, service, due_s, token))
    except aiohttp.ClientError as error:
        raise ConnectionError(f"{arguments.url}: {error}") from error
    if played.late_share > LATE_SHARE:
        print(f"tidal: {played.late_share:.0%} of the requests were sent more than {LATE_S * 1e3:g} ms late: this machine\n"
              "could not keep up, so nothing is said about the service. Send less, or from another machine")
        return FAILED
    told = _tell(played, scenario.applications[service].slo_s)
    if arguments.json:
        arguments.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


def _tell(played: Any, slo_s: float) -> dict[str, Any]:
    """Print what became of the requests, and return it."""
    import numpy as np

    count, answered = len(played.status), int(np.sum(played.status == 200))
    late = int(np.sum(played.latency_s > slo_s))
    others = {str(status): int(np.sum(played.status == status)) for status in sorted(set(played.status.tolist()) - {200})}
    shown = {"0": "no answer", "429": "over quota", "503": "rejected or dropped"}
    names = ("p50_s", "p95_s", "p99_s")
    quantiles = dict(zip(names, np.percentile(played.latency_s, [50, 95, 99]))) if answered else {}
    print(f"answered   {answered} of {count}, {late} of them later than the SLO of {slo_s:g} s")
    for status, number in others.items():
        print(f"           {number} {shown.get(status, '')} (status {status})")
    print(f"violations {(count - answered + late) / max(count, 1):.2%}")
    if quantiles:
        print("latency    " + ", ".join(f"{name[:3]} {1e3 * value:.1f} ms" for name, value in quantiles.items()))
    print("served by  " + ", ".join(f"{variant} {number}" for variant, number in played.served_by.most_common()))
    print(f"client     {played.late_share:.2%} sent late, {1e3 * played.cpu_s / max(count, 1):.2f} ms of CPU a request")
    return {
        **{"requests": count, "answered": answered, "late": late, "other_statuses": others},
        **{"served_by": dict(played.served_by)},
        **{name: float(value) for name, value in quantiles.items()},
        **{"sent_late_ratio": played.late_share, "client_cpu_s": played.cpu_s},
    }
