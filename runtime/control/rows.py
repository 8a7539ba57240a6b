"""What the control API tells of a cluster, as plain values: replicas, events, decisions, and what holds changes back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runtime.control.decisions import Decisions, Told
from runtime.control.views import View
from runtime.deployment_json import kind_to_json
from runtime.serving.desired import Hold
from runtime.serving.events import Event
from runtime.serving.live_cluster import LiveCluster

Row = dict[str, Any]


def replica_rows(cluster: LiveCluster, view: View) -> list[Row]:
    """All replicas that are not gone, by number."""
    now_s = cluster.clock.now_s()
    return [{"number": row.number, "kind": kind_to_json(row.kind), "state": row.state, "age_s": now_s - row.started_s}
            for row in cluster.replicas() if view.kind(row.kind)]


def event_rows(events: Iterable[Event], view: View) -> list[Row]:
    """Events; those of the whole cluster are the operator's."""
    return [_event(e) for e in events if view.tenant is None or (e.kind is not None and view.kind(e.kind))]


def _event(event: Event) -> Row:
    version = event.version
    told = version and {"version": version.number, "decision_id": version.decision_id, **_grounds(version)}
    return {"number": event.number, "t_s": event.t_s, "what": event.what, "why": event.why, "replica": event.replica,
            "kind": event.kind and kind_to_json(event.kind), **(told or dict.fromkeys(_OF_A_VERSION))}


_OF_A_VERSION = ("version", "decision_id", "policy", "reason", "bounds")


def decision_rows(decisions: Iterable[Told], view: View) -> list[Row]:
    """Decisions, which speak of everybody's load: the operator's."""
    return [{"number": told.number, "at_s": told.at_s, **{k: v for k, v in vars(told.account).items() if k != "grounds"},
             **_grounds(told.account)} for told in decisions if view.tenant is None]


def autoscaler_row(decisions: Decisions, now_s: float) -> Row | None:
    """Who decides, and for how long nothing has been heard of it. None: nothing was, since the cluster's start."""
    if (newest := decisions.newest) is None:
        return None
    return {"policy": newest.account.grounds.policy, "mode": newest.account.mode,
            "interval_s": newest.account.interval_s, "silent_s": max(0.0, now_s - newest.at_s)}


def held(hold: Hold | None, now_s: float) -> Row | None:
    """A pin or a pause, while it holds."""
    left_s = hold.until_s - now_s if hold else 0.0
    return {"left_s": left_s, "why": hold.why} if hold and left_s > 0 else None


def _grounds(of: Any) -> Row:
    grounds = of.grounds
    return {"policy": grounds.policy, "reason": grounds.reason, "bounds": list(grounds.bounds)}
