"""`tidal serve`: a scenario, served live: gateway, replicas, control API, until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from runtime import addresses

if TYPE_CHECKING:
    from runtime.gateway.traces import Traces
    from runtime.serving.crew import Launcher, Models
    from runtime.serving.service import Callers

log = logging.getLogger(__name__)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `serve` to the command line."""
    parser = commands.add_parser("serve", help="serve a scenario live: gateway, replicas, control API")
    parser.add_argument("--scenario", required=True, metavar="NAME_OR_FILE", help="services, kinds, budget, SLOs, deployment")
    parser.add_argument("--models", type=Path, metavar="FILE",
                        help="YAML: what runs for each variant (docs/live_cluster.md); without it replicas are emulated")
    parser.add_argument("--launcher", choices=("local", "ray"), default="local",
                        help="where worker processes run: on this machine, or over the hosts of a Ray cluster (%(default)s)")
    parser.add_argument("--ray-address", default="auto", metavar="HOST:PORT",
                        help="of the Ray cluster's head; auto: RAY_ADDRESS, or the cluster that this machine is of")
    parser.add_argument("--gateway", default="127.0.0.1:8000", metavar="HOST:PORT", help="where requests come (%(default)s)")
    parser.add_argument("--grpc", metavar="HOST:PORT", help="where requests come over gRPC (they do not, unless it is given)")
    parser.add_argument("--control", default="127.0.0.1:8081", metavar="HOST:PORT", help="of the control API (%(default)s)")
    parser.add_argument("--tokens", type=Path, metavar="FILE", help="YAML: operator, scrape, tenants (docs/live_cluster.md)")
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="PEM: then requests and control go over TLS")
    parser.add_argument("--key", type=Path, metavar="FILE", help="PEM: of the certificate")
    parser.add_argument("--state", type=Path, metavar="FILE", help="remembers the deployment over a restart")
    parser.add_argument("--take-over", action="store_true",
                        help="from the process that has the state file, if one does: it answers what it has, hands over its "
                             "addresses and its clients' connections, and ends")
    parser.add_argument("--otlp", metavar="URL", help="where spans of requests go: http://127.0.0.1:4318/v1/traces, say")
    parser.add_argument("--seed", type=int, default=0, help="of what emulated replicas draw (%(default)s)")
    parser.set_defaults(run=partial(_run, parser))


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    from envs.scenario_file import load
    from runtime.certificate import Certificate

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # a traceback for each stranger's rubbish
    scenario = load(arguments.scenario)
    models = _models(arguments.models) if arguments.models else None
    callers = _callers(arguments.tokens)
    if bool(arguments.certificate) != bool(arguments.key):
        parser.error("--certificate and --key go together")
    certificate = Certificate(arguments.certificate, arguments.key) if arguments.certificate else None
    gateway = addresses.read(parser, "--gateway", arguments.gateway)
    control = addresses.read(parser, "--control", arguments.control)
    grpc = addresses.read(parser, "--grpc", arguments.grpc) if arguments.grpc else None
    if grpc:
        _check_grpc()
    traces = _traces(arguments.otlp)
    if models is None and arguments.launcher != "local":
        parser.error(f"--launcher {arguments.launcher}: emulated replicas are no processes; give --models")
    if arguments.take_over and not arguments.state:
        parser.error("--take-over needs --state: the process that has this file is the one that hands over")
    launcher = _ray(arguments.ray_address) if arguments.launcher == "ray" else None
    import uvloop

    from runtime.serving.acceptance import check
    from runtime.serving.handover import Door, give, take
    from runtime.serving.renewal import Renewal
    from runtime.serving.service import Service
    from runtime.serving.state_file import wanted

    if arguments.take_over and (deployment := wanted(arguments.state)):
        check(deployment, scenario)  # before the process that serves has handed over

    if models:
        import runtime.serving.worker_replica  # noqa: F401 - and torch with it, while another process still serves

    async def main() -> None:
        handed = take(arguments.state) if arguments.take_over else None
        service = Service(scenario, models=models, launcher=launcher, callers=callers, seed=arguments.seed,
                          remember=arguments.state, traces=traces)
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        renewal = Renewal()
        if arguments.tokens:
            renewal.watch([arguments.tokens], lambda: service.let_in(_callers(arguments.tokens)))
        if certificate:
            renewal.watch(certificate.files, certificate.renew)
        renewing = asyncio.create_task(renewal.run())
        await service.start(gateway, control, grpc, certificate, handed)
        what = "emulated replicas" if models is None else "worker processes"
        beside = f"gRPC {service.grpc.address}, " if service.grpc else ""
        print(f"{scenario.name} ({what}): {beside}requests {service.gateway.url}, control {service.control.url} "
              "(in a browser: a page)", flush=True)
        gc.freeze()  # or now and then a collection would look through all that was imported, and hold up the loop meanwhile
        door = Door(arguments.state, stop.set) if arguments.state else None
        await stop.wait()
        renewing.cancel()
        if door and (visitor := door.close()):
            log.info("another process takes over")
            give(visitor, await service.hand_over())
            os._exit(0)  # as if suddenly: that is what workers wait to be asked back after
        await service.close()

    uvloop.run(main())
    return 0


def _check_grpc() -> None:
    try:
        import runtime.gateway.grpc_front  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(f"--grpc: {error.name} is not installed; pip install grpcio protobuf (the extra `grpc`)") from error


def _traces(url: str | None) -> Traces:
    """Ids of traces are passed on in any case; spans are made where they can go somewhere."""
    if url is None:
        from runtime.gateway.traces import Traces

        return Traces()
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"--otlp {url}: give the URL of a collector, http://127.0.0.1:4318/v1/traces say")
    try:
        from runtime.gateway.spans import exported
    except ModuleNotFoundError as error:
        raise ValueError(f"--otlp: {error.name} is not installed; pip install opentelemetry-sdk "
                         "opentelemetry-exporter-otlp-proto-http (the extra `otel`)") from error
    return exported(url)


def _ray(address: str) -> Launcher:
    try:
        from runtime.serving.ray_launcher import RayLauncher
    except ModuleNotFoundError as error:
        raise ValueError(f"--launcher ray: {error.name} is not installed; pip install ray (the extra `ray`)") from error
    return RayLauncher(address)


def _mapping(file: Path) -> dict[str, Any]:
    from envs.yaml_lines import read

    try:
        found = read(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file}: give a mapping, not {type(found).__name__}")
    return found


def _fields(file: Path, found: dict[str, Any], known: tuple[str, ...]) -> None:
    if unknown := sorted(set(map(str, found)) - set(known)):
        raise ValueError(f"{file}: unknown {', '.join(unknown)}; known: {', '.join(known)}")


def _models(file: Path) -> Models:
    from runtime.serving.crew import Models

    found = _mapping(file)
    _fields(file, found, ("variants", "device", "dtype"))
    variants = found.get("variants")
    if not isinstance(variants, dict) or not all(isinstance(text, str) for text in variants.values()):
        raise ValueError(f"{file}: `variants` is a mapping from a variant to what runs for it (docs/models.md)")
    return Models(variants, str(found.get("device", "cpu")), str(found.get("dtype", "float32")))


def _callers(file: Path | None) -> Callers:
    from runtime.serving.service import Callers

    found = _mapping(file) if file else {}
    if file:
        _fields(file, found, ("operator", "scrape", "tenants"))
    tenants = found.get("tenants", {})
    if not isinstance(tenants, dict):
        raise ValueError(f"{file}: `tenants` is a mapping from a tenant to its token")
    named = {str(tenant): str(token) for tenant, token in tenants.items()}
    return Callers(str(found.get("operator", "")), named, str(found.get("scrape", "")))
