"""`tidal calibrate`: measures what a live cluster adds to its profile, and writes a scenario whose simulator knows of it."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import replace
from pathlib import Path

REQUESTS, RPS, STARTS = 200, 10.0, 1


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `calibrate` to the command line."""
    parser = commands.add_parser("calibrate", help="measure an idle live cluster: messages, loads, decisions, metric lag")
    parser.add_argument("--scenario", required=True, metavar="NAME_OR_FILE", help="that the cluster serves")
    parser.add_argument("--gateway", default="http://127.0.0.1:8000", metavar="URL", help="where requests go (%(default)s)")
    parser.add_argument("--control", default="http://127.0.0.1:8081", metavar="URL", help="of the control API (%(default)s)")
    parser.add_argument("--prometheus", metavar="URL", help="that the autoscaler reads; without it, it reads the gateway")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds the operator's token")
    parser.add_argument("--tenant-token-file", type=Path, metavar="FILE", help="holds a tenant's token, for requests")
    parser.add_argument("--requests", type=int, default=REQUESTS, metavar="N", help="sent one after another (%(default)s)")
    parser.add_argument("--rps", type=float, default=RPS, metavar="R", help="their pace: that of the usual load (%(default)g)")
    parser.add_argument("--starts", type=int, default=STARTS, metavar="N", help="of a replica of each variant (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("calibrated"), metavar="FOLDER",
                        help="for the scenario with what was measured (%(default)s/)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from envs import scenario_written
    from envs.scenario_file import load
    from runtime.measured_times import ClusterBusy, MeasuredCluster, MeasuredTimes, calibrated, metric_lag

    scenario = load(arguments.scenario)
    with contextlib.closing(MeasuredCluster(scenario, arguments.gateway, arguments.control, arguments.token_file,
                                            arguments.tenant_token_file)) as cluster:
        try:
            cluster.check_idle()
        except ClusterBusy as error:
            raise ValueError(str(error)) from error
        message_s, hold_s = cluster.messages(arguments.requests, arguments.rps)
        print(f"messages   an answer comes {1e3 * message_s:.2f} ms later than the profile says; "
              f"a batch holds its server {1e3 * hold_s:.2f} ms longer")
        load_s, load_slowdown = cluster.loads(arguments.starts) if arguments.starts else ({}, 1.0)
        for variant, taken_s in load_s.items():
            print(f"load       {variant}: {taken_s:.3g} s (the scenario says {scenario.variants[variant].load_s:g} s)")
        if load_s:
            print(f"load       beside one, a batch takes {load_slowdown:.2f} times as long")
        times = MeasuredTimes(message_s, hold_s, load_s, cluster.decide_s(), load_slowdown=load_slowdown)
    if arguments.prometheus:
        scrape_s, lag_s = metric_lag(arguments.prometheus)
        times = replace(times, scrape_s=scrape_s, lag_s=lag_s)
    print(f"decisions  metrics read and a deployment accepted in {1e3 * times.decide_s:.0f} ms, without the policy's own time")
    print(f"metrics    scraped every {times.scrape_s:.3g} s, seen {1e3 * times.lag_s:.0f} ms later")
    comments = (f"{arguments.scenario}, with what `tidal calibrate` measured on {arguments.gateway}: {arguments.requests} "
                f"requests, {arguments.starts} start(s) of each variant that fits beside what runs.\n"
                "In it: overhead_s, load_s, failures.load_slowdown, decision_delay_s, scrape, and latency.csv.")
    path = scenario_written.write(calibrated(scenario, times), arguments.out, comments)
    print(f"written    {path}: for evaluate.py, train.py and the simulator; the cluster itself keeps its own")
    return 0
