"""`tidal autoscale`: watches metrics, decides, and scales a service, within the envelope, until told to stop."""

from __future__ import annotations

import argparse
import gc
import logging
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime import addresses
from runtime.actuators import choice

if TYPE_CHECKING:
    from envs.contract import ReplicaKind
    from envs.scenario import Scenario
    from runtime.autoscaler.policy_host import HostedPolicy
    from runtime.sources.source import Source

DEADLINE_RATIO = 0.25  # of the interval, for one decision of a policy
JOB = "tidal"

log = logging.getLogger("tidal.autoscaler")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `autoscale` to the command line."""
    parser = commands.add_parser("autoscale", help="scale a live service: metrics, policy, envelope, control API")
    parser.add_argument("--scenario", required=True, metavar="NAME_OR_FILE", help="the problem: services, kinds, budget, SLOs")
    parser.add_argument("--policy", required=True, metavar="NAME_OR_FOLDER",
                        help="a baseline, an exported agent's folder, or package.module:Class")
    parser.add_argument("--fallback", default="hpa", metavar="NAME", help="baseline that decides when the policy fails (hpa)")
    parser.add_argument("--source", required=True, choices=("prometheus", "scrape"), help="where metrics are read from")
    parser.add_argument("--url", required=True, action="append",
                        help="of the Prometheus, or of a target's /metrics (again for each target)")
    parser.add_argument("--scrape-token-file", type=Path, metavar="FILE",
                        help="holds the bearer token that the targets of --source scrape ask for")
    parser.add_argument("--job", default=JOB, help=f"job_name of Tidal's targets in Prometheus ({JOB})")
    parser.add_argument("--system", metavar="NAME", help="whose metrics that Prometheus has, where not Tidal's: vllm, triton, "
                        "http, ... (docs/dropin/sources.md)")
    parser.add_argument("--select", default="", metavar="LABEL=VALUE,...", help="of the system's series, those of the service")
    choice.add(parser)
    parser.add_argument("--journal", required=True, type=Path, metavar="DIR", help="where decisions are kept")
    parser.add_argument("--mode", choices=("act", "advisory", "shadow"), default="act",
                        help="act; advisory: never act; shadow: act, and journal what --shadow would have done")
    parser.add_argument("--shadow", metavar="NAME_OR_FOLDER", help="the policy of the mode shadow")
    parser.add_argument("--canary", metavar="NAME_OR_FOLDER", help="a new policy that decides for a share of the time")
    parser.add_argument("--canary-share", type=float, default=0.1, metavar="RATIO", help="of the time (%(default)s)")
    parser.add_argument("--canary-limit", type=float, default=0.05, metavar="RATIO",
                        help="of violations; when there are more in its turn, the canary is withdrawn (%(default)s)")
    parser.add_argument("--interval", type=float, metavar="S", help="between decisions (the scenario's)")
    parser.add_argument("--limits", type=Path, metavar="FILE", help="YAML of the operator's limits (docs/autoscaler.md)")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT",
                        help="address of the own /metrics and /healthz (a free port of 127.0.0.1)")
    parser.set_defaults(run=partial(_run, parser))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    _check(parser, arguments)
    from envs.envelope import Limits
    from envs.scenario_file import load
    from runtime.autoscaler.canary import CanaryHost
    from runtime.autoscaler.lease import FileLease
    from runtime.autoscaler.limits_file import read_limits
    from runtime.autoscaler.live_scenario import needs_restart
    from runtime.autoscaler.policy_host import PolicyHost
    from runtime.autoscaler.process import Autoscaler, silence_limit_s
    from runtime.autoscaler.reload import Reload, Setup
    from runtime.autoscaler.web import Pages
    from runtime.clock import SteadyClock

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    scenario = load(arguments.scenario)
    interval_s = scenario.interval_s if arguments.interval is None else arguments.interval
    silence_s, clock = silence_limit_s(interval_s), SteadyClock()
    kinds: Sequence[ReplicaKind] = ()
    host, port = addresses.read(parser, "--listen", arguments.listen)

    def hosted(name: str, now: Scenario) -> PolicyHost:
        policy, fallback = (_hosted(n, now, interval_s, kinds, arguments.system) for n in (name, arguments.fallback))
        return PolicyHost(policy, fallback, interval_s)

    def setup() -> Setup:
        now = load(arguments.scenario)
        if why := needs_restart(scenario, now):
            raise ValueError(why)
        limits = read_limits(arguments.limits, now) if arguments.limits else Limits()
        acting = hosted(arguments.policy, now)
        if arguments.canary:
            canary = hosted(arguments.canary, now)
            acting = CanaryHost(acting, canary, arguments.canary_share, arguments.canary_limit, interval_s)
        return Setup(acting, limits, hosted(arguments.shadow, now) if arguments.shadow else None, now)

    with ExitStack() as stack:
        actuator = choice.make(arguments, scenario, clock, silence_s, stack)
        if kinds := choice.kinds_of(actuator):
            log.info("%s changes numbers of replicas only, of %s: what a policy wants besides is put into these",
                     arguments.actuator, ", ".join(map(str, kinds)))
        first = setup()
        open_source = partial(_source, arguments, interval_s)
        autoscaler = Autoscaler(
            scenario, first.host, open_source(scenario), actuator, arguments.journal,
            FileLease(arguments.journal, silence_s), clock, interval_s=interval_s, limits=first.limits,
            mode=arguments.mode, shadow_host=first.shadow_host, open_source=open_source)
        stack.callback(autoscaler.close)
        choice.show(actuator, autoscaler.meters.registry)
        reload = Reload(setup, autoscaler.take, autoscaler.meters.reloads.labels("refused").inc)
        stack.callback(reload.close)
        signal.signal(signal.SIGHUP, lambda *_: reload.ask())
        try:
            pages = Pages(autoscaler, host, port, silence_s)
        except OSError as error:
            raise OSError(f"--listen {arguments.listen}: {error.strerror}; give another address") from error
        stack.callback(pages.close)
        stop = _until_signalled()  # before anybody is told that it runs
        print(f"{scenario.name}: {arguments.policy} every {interval_s:g} s, {arguments.mode}; {pages.url}/metrics", flush=True)
        gc.freeze()  # or now and then a collection would look through all that was imported, within a decision
        autoscaler.run(stop)
    return 0


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """What the parser cannot say by itself."""
    choice.check(parser, arguments)
    if (arguments.mode == "shadow") != bool(arguments.shadow):
        parser.error("--shadow goes with --mode shadow, and only with it")
    if arguments.source == "prometheus" and len(arguments.url) > 1:
        parser.error("one --url for --source prometheus")
    if (arguments.system or arguments.select) and (arguments.source != "prometheus" or not arguments.system):
        parser.error("--system NAME goes with --source prometheus, and --select with --system")
    if arguments.scrape_token_file and arguments.source != "scrape":
        parser.error("--scrape-token-file goes with --source scrape")
    if arguments.interval is not None and not 0 < arguments.interval < float("inf"):
        parser.error("--interval: give seconds > 0")
    for url in (*arguments.url, *filter(None, [arguments.control])):
        if not url.startswith(("http://", "https://")):
            parser.error(f"{url}: give a URL that begins with http:// or https://")
    for option, ratio in (("--canary-share", arguments.canary_share), ("--canary-limit", arguments.canary_limit)):
        if not 0 <= ratio <= 1:
            parser.error(f"{option} {ratio:g}: give a ratio in [0, 1]")
    for name in filter(None, (arguments.policy, arguments.fallback, arguments.shadow, arguments.canary)):
        if name.endswith(".zip"):
            parser.error(f"{name}: loading it runs the code that is pickled in it; export the agent and give its folder")


def _hosted(name: str, scenario: Scenario, interval_s: float, kinds: Sequence[ReplicaKind] = (),
            system: str | None = None) -> HostedPolicy:
    from agents import registry
    from runtime.actuators.replicas_only import ReplicasOnly
    from runtime.autoscaler.policy_host import HostedPolicy
    from runtime.autoscaler.rehearsal import rehearse
    from runtime.sources.adapter import named

    try:
        policy = registry.make(name, scenario)
        if system is not None:
            named(system).check_policy(name, policy)
        if kinds:
            policy = ReplicasOnly(policy, kinds)
    except (LookupError, ImportError) as error:
        raise ValueError(str(error.args[0] if error.args else error)) from error
    try:
        rehearse(policy, scenario)
        return HostedPolicy(name, policy, scenario, DEADLINE_RATIO * interval_s)
    except (OSError, ValueError):
        raise
    except Exception as error:  # its files say what cannot be
        told = " ".join(str(error).split())
        raise ValueError(f"{name} cannot be played on {scenario.name} ({type(error).__name__}: {told})") from error


def _source(arguments: argparse.Namespace, interval_s: float, scenario: Scenario) -> Source:
    from runtime.sources.source import PagedSource

    if arguments.system:
        from runtime.sources.adapted import AdaptedSource
        from runtime.sources.adapter import named, selected

        return AdaptedSource(scenario, named(arguments.system), arguments.url[0], selected(arguments.select), interval_s)
    if arguments.source == "prometheus":
        from runtime.sources.prometheus import PrometheusReader

        return PagedSource(scenario, PrometheusReader(arguments.url[0], arguments.job), interval_s)
    from runtime.sources.scrape import Scraper

    return PagedSource(scenario, Scraper(arguments.url, token_file=arguments.scrape_token_file), interval_s)


def _until_signalled() -> threading.Event:
    """Set by SIGTERM or SIGINT; a second one ends the process at once."""
    stop = threading.Event()

    def on_signal(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    handler: Callable[[int, Any], None] = on_signal
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)
    return stop
