"""How long KEDA waits for the external scaler, and how late a stream tells that a workload is to wake up.

    python benchmarks/external_scaler.py [--json FILE]

Rows: what a call takes, asked over one pooled connection, as KEDA does, one call after another; and from a decision until a
client of the stream has it. Client and server share a process, and its lock.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc
import numpy as np

from benchmarks.rows import Row, command_line, report, row
from envs.contract import Deployment, ReplicaKind
from envs.scenario_file import load
from runtime.account import Account, Grounds
from runtime.actuators import external_scaler_pb2 as pb
from runtime.actuators.keda import ExternalScaler
from runtime.actuators.offer import Offer
from runtime.clock import SteadyClock

CALLS, CHANGES, WARM_UP = 5000, 200, 500
TARGET_S = 0.005
SERVICE = "/externalscaler.ExternalScaler/"


def main() -> None:
    """All rows."""
    arguments = command_line(__doc__ or "").parse_args()
    (kind, *_) = load("live-demo").kinds
    offer = Offer(Deployment({kind: 1}), "", [kind], SteadyClock(), 60.0)
    scaler = ExternalScaler(offer)
    with grpc.insecure_channel(scaler.address) as channel:
        _decide(offer, Deployment({kind: 1}), 0)
        rows = [*_calls(channel), *_stream(channel, offer, kind)]
    scaler.close()
    report(rows, arguments.json)


def _decide(offer: Offer, wanted: Deployment, number: int) -> None:
    offer.apply(wanted, offer.current().version, f"b/{number}")
    offer.tell(Account(f"b/{number}", 0.0, 1.0, "act", "applied", "", Grounds()))


def _calls(channel: grpc.Channel) -> list[Row]:
    """GetMetrics and IsActive, in turns."""
    metrics = channel.unary_unary(f"{SERVICE}GetMetrics", request_serializer=pb.GetMetricsRequest.SerializeToString,
                                  response_deserializer=pb.GetMetricsResponse.FromString)
    active = channel.unary_unary(f"{SERVICE}IsActive", request_serializer=pb.ScaledObjectRef.SerializeToString,
                                 response_deserializer=pb.IsActiveResponse.FromString)
    ref = pb.ScaledObjectRef(name="llm", namespace="serving")
    took_s = np.empty((CALLS, 2))
    for i in range(-WARM_UP, CALLS):
        began = time.perf_counter()
        metrics(pb.GetMetricsRequest(scaledObjectRef=ref, metricName="s0-tidal"))
        between = time.perf_counter()
        active(ref)
        took_s[i] = between - began, time.perf_counter() - between
    how = f"{CALLS} calls one after another, after {WARM_UP}"
    return [row(f"{name}, {what}", float(np.quantile(took_s[:, column], q)), "s", how, target=TARGET_S if q > 0.5 else None)
            for column, name in enumerate(("GetMetrics", "IsActive")) for what, q in (("p50", 0.5), ("p99", 0.99))]


def _stream(channel: grpc.Channel, offer: Offer, kind: ReplicaKind) -> list[Row]:
    """From a decision until KEDA knows that there is something to do, or no more."""
    stream = channel.unary_stream(f"{SERVICE}StreamIsActive", request_serializer=pb.ScaledObjectRef.SerializeToString,
                                  response_deserializer=pb.IsActiveResponse.FromString)(pb.ScaledObjectRef())
    next(stream)
    late_s = []
    for number in range(1, CHANGES + 1):
        began = time.perf_counter()
        _decide(offer, Deployment({kind: (number + 1) % 2}), number)
        next(stream)
        late_s.append(time.perf_counter() - began)
    stream.cancel()
    return [row(f"StreamIsActive, {what}", float(np.quantile(late_s, q)), "s", f"{CHANGES} changes, from decision to client")
            for what, q in (("p50", 0.5), ("p99", 0.99))]


if __name__ == "__main__":
    main()
