"""`tidal profile`: profiles measured on a running service, fitted to capacities, or estimated from a model's operators."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime import profile_estimate, profile_measure

if TYPE_CHECKING:
    import pandas as pd


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `profile` and its verbs to the command line."""
    profile = commands.add_parser("profile", help="make a profile: of a URL, from capacities, or from a model's operators")
    verbs = profile.add_subparsers(title="verbs", metavar="VERB", required=True)
    fit = verbs.add_parser("fit", help="print a profile whose service times carry the capacities of a table")
    fit.add_argument("capacities", help="CSV: variant, device, cores, inter_op, intra_op, batch, capacity_rps; cpu, batch 1")
    fit.add_argument("--slo-s", type=_positive, required=True, help="limit of the P99 latency at which they were measured")
    fit.add_argument("--cores", type=_core_counts, metavar="N,N,...", help="fit these numbers of cores only (default: all)")
    fit.add_argument("--out", type=Path, metavar="FILE", help="write the profile there, not to standard output")
    fit.set_defaults(run=_fit)
    profile_estimate.add(verbs)
    profile_measure.add(verbs)
    parse = profile.parse_known_args

    def parse_known_args(args: Any = None, namespace: Any = None) -> Any:
        """`tidal profile URL` is `tidal profile measure URL`."""
        of_url = args and args[0].startswith(("http://", "https://"))
        return parse(["measure", *args] if of_url else args, namespace)

    profile.parse_known_args = parse_known_args  # type: ignore[method-assign]


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number > 0")
    return value


def _core_counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers such as 1,2,4,8,16") from None
    if min(counts) < 1:
        raise argparse.ArgumentTypeError("a number of cores is at least 1")
    return counts


def _fit(arguments: argparse.Namespace) -> int:
    from envs.profile_table import CAPACITY_COLUMNS, LATENCY_COLUMNS, read_table  # pandas and numba: not for `tidal --help`
    from envs.service_time import capacity_error_ratio, fit_service_time

    lines = [f"# Service time (s) of one request on one core, fitted to the P99 <= {arguments.slo_s:g} s capacities of "
             f"{Path(arguments.capacities).name}", ",".join(LATENCY_COLUMNS)]
    for variant, measured_rps in _by_variant(read_table(arguments.capacities, CAPACITY_COLUMNS)).items():
        fitted_rps = {n: rps for n, rps in measured_rps.items() if not arguments.cores or n in arguments.cores}
        fit = fit_service_time(fitted_rps, arguments.slo_s)
        error_ratio = capacity_error_ratio(measured_rps, fit.service_s, arguments.slo_s)
        print(f"{variant}: {fit.service_s:g} s; sum of errors {fit.error_ratio:.1%} of the capacities fitted, "
              f"{error_ratio:.1%} of all {len(measured_rps)}", file=sys.stderr)
        lines.append(f"{variant},cpu,,1,1,1,0,{fit.service_s:g}")
    text = "\n".join(lines) + "\n"
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


def _by_variant(capacities: pd.DataFrame) -> dict[str, dict[int, float]]:
    """Capacity by cores for each variant, in the order of the table."""
    others = capacities[(capacities["device"] != "cpu") | (capacities["batch"] != 1)]
    if len(others):
        row = others.iloc[0]
        raise ValueError(f"{row['variant']} on {row['device']}, batch {row['batch']:g}: only cpu and batch 1 can be fitted")
    return {str(variant): dict(zip(group["cores"].astype(int).tolist(), group["capacity_rps"].tolist()))
            for variant, group in capacities.groupby("variant", sort=False)}
