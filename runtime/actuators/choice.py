"""The actuators of `tidal autoscale`: their options, and the one that is chosen (docs/dropin/actuators.md)."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime import addresses

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from envs.contract import ReplicaKind
    from envs.scenario import Scenario
    from runtime.actuators.actuator import Actuator
    from runtime.actuators.workloads import Workload
    from runtime.clock import Clock

log = logging.getLogger(__name__)

NAMES = ("cluster", "kubernetes", "ray-serve", "keda", "gauge", "webhook", "dry-run")
CONTROLLED, SCALED, OFFERED = ("cluster", "ray-serve", "webhook"), ("kubernetes", "ray-serve"), ("keda", "gauge")


def add(parser: argparse.ArgumentParser) -> None:
    """Adds their options."""
    parser.add_argument("--actuator", required=True, choices=NAMES, help="what is told the decisions")
    parser.add_argument("--control", metavar="URL", help="of the cluster's control API, of Ray's dashboard, or of the webhook")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds the bearer token of --control")
    parser.add_argument("--target", action="append", default=[], metavar="[KIND=]PLACE",
                        help="what to scale: NAMESPACE/TYPE/NAME of kubernetes, APPLICATION/DEPLOYMENT of ray-serve; for keda "
                        "and gauge a KIND alone (the scenario's). KIND is a variant, or as in 'large @4c' (again for each)")
    parser.add_argument("--kube-config", type=Path, metavar="FILE", help="of kubectl; within a pod it is not needed")
    parser.add_argument("--keda-listen", metavar="HOST:PORT", help="address of the external scaler, for keda")


def check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """What the parser cannot say by itself."""
    name = arguments.actuator
    if (name in CONTROLLED) != bool(arguments.control):
        parser.error("--control URL goes with --actuator cluster, ray-serve and webhook, and only with these")
    if arguments.token_file and not arguments.control:
        parser.error("--token-file goes with --control")
    if (name in SCALED and not arguments.target) or (arguments.target and name not in SCALED + OFFERED):
        parser.error("--target goes with --actuator kubernetes and ray-serve, and may with keda and gauge")
    if arguments.kube_config and name != "kubernetes":
        parser.error("--kube-config goes with --actuator kubernetes")
    if (name == "keda") != bool(arguments.keda_listen):
        parser.error("--keda-listen HOST:PORT goes with --actuator keda, and only with it")
    if arguments.keda_listen:
        addresses.read(parser, "--keda-listen", arguments.keda_listen)


def make(arguments: argparse.Namespace, scenario: Scenario, clock: Clock, silence_s: float, stack: ExitStack) -> Actuator:
    """The actuator that is chosen; `stack` closes what belongs to it.

    Args:
        arguments: parsed and checked.
        scenario: the problem.
        clock: time.
        silence_s: for so long after a decision what is offered is stood by.
        stack: is given what is to be closed.

    Raises:
        ValueError, OSError: it cannot be had; the text says why.
    """
    actuator = _made(arguments, scenario, clock, silence_s)
    if hasattr(actuator, "close"):
        stack.callback(actuator.close)
    if arguments.actuator == "keda":
        from runtime.actuators.keda import ExternalScaler

        host, _, port = arguments.keda_listen.rpartition(":")
        scaler = ExternalScaler(actuator, host.strip("[]"), int(port))  # type: ignore[arg-type]  # an Offer
        stack.callback(scaler.close)
        log.info("KEDA's external scaler at %s", scaler.address)
    return actuator


def kinds_of(actuator: Actuator) -> Sequence[ReplicaKind]:
    """The kinds whose number is all that an actuator can change; empty: whatever a deployment says."""
    kinds: Sequence[ReplicaKind] = getattr(actuator, "kinds", ())
    return kinds


def show(actuator: Any, registry: CollectorRegistry) -> None:
    """Adds the series that an actuator has, if it has some, to a page."""
    if hasattr(actuator, "collect"):
        registry.register(actuator)


def _made(arguments: argparse.Namespace, scenario: Scenario, clock: Clock, silence_s: float) -> Actuator:
    if arguments.actuator == "dry-run":
        from runtime.actuators.dry_run import DryRun

        return DryRun(scenario.initial_deployment)
    if arguments.actuator == "cluster":
        from runtime.actuators.cluster import ClusterActuator

        return ClusterActuator(arguments.control, arguments.token_file)
    if arguments.actuator in SCALED:
        from runtime.actuators.workloads import Workloads

        return Workloads(_workloads(arguments, scenario))
    from runtime.actuators.accepted import last_applied

    deployment, decision_id = last_applied(arguments.journal, scenario) or (scenario.initial_deployment, "")
    if arguments.actuator == "webhook":
        from runtime.actuators.webhook import Webhook

        return Webhook(deployment, decision_id, arguments.control, arguments.token_file)
    from runtime.actuators.kind_names import kind_named
    from runtime.actuators.offer import Offer

    kinds = [kind_named(name, scenario.kinds) for name in arguments.target] or scenario.kinds
    return Offer(deployment, decision_id, kinds, clock, silence_s)


def _workloads(arguments: argparse.Namespace, scenario: Scenario) -> dict[ReplicaKind, Workload]:
    from runtime.actuators.kind_names import kind_named

    found: dict[ReplicaKind, Workload] = {}
    for target in arguments.target:
        name, _, place = target.rpartition("=")
        kind = kind_named(name, scenario.kinds)
        if kind in found:
            raise ValueError(f"--target {target}: {kind} has a place already")
        found[kind] = _workload(arguments, place)
    return found


def _workload(arguments: argparse.Namespace, place: str) -> Workload:
    if arguments.actuator == "ray-serve":
        from runtime.actuators.ray_serve import RayServeWorkload

        return RayServeWorkload(arguments.control, place, arguments.token_file)
    from runtime.actuators.kubernetes import KubernetesWorkload, Place, client

    return KubernetesWorkload(client(arguments.kube_config), Place.read(place))
