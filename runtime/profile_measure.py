"""`tidal profile URL`: a profile of a running service, measured open loop from outside."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.measured_capacity import Capacity

FAILED = 1


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb."""
    measure = verbs.add_parser("measure", help="measure one replica of a running service: `tidal profile URL` for short")
    measure.add_argument("url", help="that answers a request, http://127.0.0.1:9000/predict say; nobody else may ask it")
    measure.add_argument("--slo", type=float, required=True, metavar="S", help="limit of the P99 latency")
    measure.add_argument("--body", type=Path, metavar="FILE", help="JSON to post (without: GET)")
    measure.add_argument("--variant", default="model", help="its name in the tables (%(default)s)")
    measure.add_argument("--cores", type=int, default=1, help="requests that the replica works on at once (%(default)s)")
    measure.add_argument("--probe", type=float, default=16.0, metavar="S", help="length of a probe (%(default)g)")
    measure.add_argument("--out", type=Path, default=Path("latency.csv"), metavar="FILE",
                         help="table of latencies; rows of others are kept (%(default)s)")
    measure.add_argument("--capacities", type=Path, metavar="FILE", help="table of capacities, to be written too")
    measure.add_argument("--json", type=Path, metavar="FILE", help="also write all that was measured there")
    measure.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if not (0 < arguments.slo < float("inf") and arguments.probe >= 4 and arguments.cores >= 1):
        raise ValueError("give --slo > 0, --probe of 4 s or more, and --cores of 1 or more")
    if "," in arguments.variant or "#" in arguments.variant:
        raise ValueError(f"--variant {arguments.variant}: a name without , and #")
    from envs.profile_table import CAPACITY_COLUMNS, LATENCY_COLUMNS  # pandas and numba: not for `tidal --help`
    from envs.service_time import fit_service_time
    from runtime.measured_capacity import measure

    body = arguments.body.read_bytes() if arguments.body else None
    found = asyncio.run(measure(arguments.url, body, arguments.slo, clients=max(8, 4 * arguments.cores),
                                probe_s=arguments.probe, tell=lambda line: print(line, flush=True)))
    if arguments.json:
        arguments.json.write_text(json.dumps(_told(found, arguments.slo), indent=1) + "\n", encoding="utf-8")
    if not found.limited:
        print(f"tidal: it carries {found.rps:.3g} req/s and more: this machine could not send faster in time. Nothing is\n"
              "written; send from another machine, or give the replica fewer cores", file=sys.stderr)
        return FAILED
    fit = fit_service_time({arguments.cores: found.rps}, arguments.slo)
    how = f"{found.rps:.4g} req/s at P99 <= {arguments.slo:g} s; alone {1e3 * found.alone_s:.4g} ms; " \
          f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, tidal profile {arguments.url}"
    cells = f"{arguments.variant},cpu,{arguments.cores},1,1,1"
    _put(arguments.out, LATENCY_COLUMNS, cells, f"{cells},0,{fit.service_s:g}  # {how}")
    if arguments.capacities:
        _put(arguments.capacities, CAPACITY_COLUMNS, cells, f"{cells},{found.rps:.4g}  # {how}")
    print(f"{arguments.variant}: {found.rps:.4g} req/s at P99 <= {arguments.slo:g} s, as {arguments.cores} servers of "
          f"{1e3 * fit.service_s:.4g} ms carry; a request alone took {1e3 * found.alone_s:.4g} ms. Written to {arguments.out}")
    return 0


def _put(file: Path, columns: list[str], cells: str, row: str) -> None:
    """Writes a row into a table, in place of one that begins with the same cells."""
    header = ",".join(columns)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else [header]
    if header not in (line.split("#")[0].strip() for line in lines):
        raise ValueError(f"{file}: there, but not a table of {header}; give another file")
    kept = [line for line in lines if not line.startswith(f"{cells},")]
    file.write_text("\n".join([*kept, row]) + "\n", encoding="utf-8")


def _told(found: Capacity, slo_s: float) -> dict[str, object]:
    probes = [{"rps": p.rps, "p99_s": p.p99_s if p.p99_s < float("inf") else None, "kept_up": p.kept_up} for p in found.probes]
    return {"capacity_rps": found.rps, "limited_by_server": found.limited, "slo_s": slo_s, "alone_s": found.alone_s,
            "saturation_rps": found.saturation_rps, "probes": probes}  # fmt: skip
