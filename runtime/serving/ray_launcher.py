"""Worker processes on the hosts of a Ray cluster: Ray starts and ends them, worlds carry what they say. Needs the extra `ray`.

A worker is an actor that holds its cores, or a GPU; several of one replica are in one placement group, on one host. Whether a
worker lives is for the worlds to say: they notice in milliseconds what Ray notices in seconds, and a stopped process, which
Ray does not notice. What Ray knows besides is logged.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import ray
from ray.util import get_placement_group, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from runtime.serving.job import Job
from runtime.serving.worker import work

NAMESPACE = "tidal"
ORDERLY, NEVER_RAN = "INTENDED_USER_EXIT", "The actor never ran"  # in what Ray says of an actor
REACH_S = 5.0

log = logging.getLogger(__name__)


class RayLauncher:
    """Starts workers. Runs on a host of the Ray cluster.

    Args:
        address: `host:port` of the cluster's head; "auto": what RAY_ADDRESS says, or the cluster that this host is of.

    Attributes:
        host: the address of this host.

    Raises:
        ConnectionError: there is no such cluster.
    """

    def __init__(self, address: str = "auto") -> None:
        _check_reachable(address)
        try:
            ray.init(address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.WARNING)
        except ConnectionError as error:
            raise ConnectionError(f"no Ray cluster at {address}: `ray start` starts one") from error
        self.host: str = ray.util.get_node_ip_address()
        self._calls = ThreadPoolExecutor(1, "ray")  # they may take their time, and stay in their order
        self._mark = secrets.token_hex(8)
        self._groups: dict[str, _Group] = {}

    def start(self, job: Job) -> RayProcess:
        """Start one; see `runtime.serving.crew.Launcher`."""
        name, size = f"{self._mark} {job.name}", job.placement.inter_op * job.placement.intra_op
        trace = {"actor": name, "group": f"{self._mark} replica {job.replica}", "of": size}
        group = self._group(trace)
        return RayProcess(self._calls, trace, lambda: _begin(job, name, group), lambda: self._left(group))

    def find(self, trace: Mapping[str, Any]) -> RayProcess | None:
        """The process of that trace; see `runtime.serving.crew.Launcher`."""
        if "actor" not in trace:
            return None  # of another launcher
        group = self._group(trace)
        try:
            actor: Any = self._calls.submit(ray.get_actor, trace["actor"]).result()
        except ValueError:
            self._left(group)
            return None
        lives = _named(actor.lives, trace["actor"])
        return RayProcess(self._calls, trace, lambda: (actor, lives.remote()), lambda: self._left(group))

    def close(self) -> None:
        """Leaves the Ray cluster."""
        self._calls.shutdown()
        ray.shutdown()

    def _group(self, trace: Mapping[str, Any]) -> _Group:
        return self._groups.setdefault(trace["group"], _Group(trace["group"], trace["of"]))

    def _left(self, group: _Group) -> None:
        """A worker of it has ended. Called on any thread."""
        with contextlib.suppress(RuntimeError):  # we are closed
            self._calls.submit(self._leave, group)

    def _leave(self, group: _Group) -> None:
        group.left -= 1
        if group.left == 0:
            group.give_back()
            self._groups.pop(group.name, None)


class RayProcess:
    """An actor in which a worker runs; see `runtime.serving.crew.Process`.

    Args:
        calls: the thread in which Ray is asked.
        trace: see there.
        begin: gives the actor, and what Ray answers when it has ended.
        at_end: called when it has.

    Attributes:
        trace: names of the actor and of its group, and of how many workers that is.
    """

    def __init__(self, calls: ThreadPoolExecutor, trace: Mapping[str, Any], begin: Callable[[], tuple[Any, Any]],
                 at_end: Callable[[], None]) -> None:
        self.trace, self._calls, self._at_end = trace, calls, at_end
        self._actor: Any = None
        self._killed, self._ended = False, threading.Event()
        calls.submit(self._begin, begin)

    def kill(self) -> None:
        """End it, whatever it does. Ray calls it gone at once; a stopped process ends some seconds later."""
        self._killed = True
        with contextlib.suppress(RuntimeError):  # the launcher is closed, and Ray ends it
            self._calls.submit(self._kill)

    def gone(self, timeout_s: float) -> bool:
        """Whether it has ended within the time, as far as Ray knows."""
        return self._ended.wait(timeout_s)

    def _begin(self, begin: Callable[[], tuple[Any, Any]]) -> None:
        try:
            self._actor, life = begin()
        except Exception as error:  # whatever Ray says
            self._end(error)
        else:
            life.future().add_done_callback(lambda future: self._end(future.exception()))

    def _kill(self) -> None:
        if not self._ended.is_set():
            ray.kill(self._actor)

    def _end(self, error: BaseException | None) -> None:
        said = " ".join(str(error).split())
        if NEVER_RAN in said:
            log.warning("%s: Ray had no room for it", self.trace["actor"])
        elif not self._killed and ORDERLY not in said:
            log.warning("%s: Ray says: %s", self.trace["actor"], said)
        self._ended.set()
        self._at_end()


class _Group:
    """The workers of one replica, which are placed together. All is called in the thread in which Ray is asked.

    Attributes:
        left: workers that have not ended.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name, self.left, self._size = name, size, size
        self._group: Any = None

    def place(self, job: Job) -> Any:
        """Ray's strategy for a worker: over all hosts, or where the others of its replica are."""
        if self._size == 1:
            return "SPREAD"
        if self._group is None:
            self._group = placement_group([_resources(job)] * self._size, "STRICT_PACK", self.name, _lifetime(job))
        index = job.placement.stage * job.placement.intra_op + job.placement.rank
        return PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=index)

    def give_back(self) -> None:
        """Frees what was kept for all of them."""
        if self._size > 1:
            with contextlib.suppress(ValueError):  # it is not there any more
                remove_placement_group(self._group or get_placement_group(self.name))


class _Worker:
    """In the worker's process."""

    def __init__(self) -> None:
        self._over = threading.Event()

    def work(self, job: Job) -> None:
        """All its life."""
        if _on_gpu(job):  # Ray shows it no other GPU than its own
            job = replace(job, placement=replace(job.placement, device="cuda:0"))
        try:
            work(job, ray.util.get_node_ip_address())
        except Exception:
            log.exception("the worker failed")  # in Ray's logs
        finally:
            self._over.set()
            ray.actor.exit_actor()

    def lives(self) -> None:
        """Returns when it has ended."""
        self._over.wait()


_ACTOR = cast(Any, ray.remote)(max_restarts=0, max_concurrency=2)(_Worker)  # what is lost is not for Ray to start again


def _begin(job: Job, name: str, group: _Group) -> tuple[Any, Any]:
    needs = _resources(job)
    actor = _ACTOR.options(name=name, lifetime=_lifetime(job), scheduling_strategy=group.place(job),
                           num_cpus=needs.get("CPU", 0), num_gpus=needs.get("GPU", 0)).remote()
    return actor, _named(actor.work, name).remote(job)


def _named(method: Any, name: str) -> Any:
    """A call of it bears the actor's name, and so does its process in the list of processes."""
    return method.options(name=name)


def _resources(job: Job) -> dict[str, float]:
    """What Ray keeps for a worker."""
    return {"GPU": 1.0} if _on_gpu(job) else {"CPU": float(job.servers)}


def _lifetime(job: Job) -> str | None:
    """Workers that wait for the next cluster process must outlive this one."""
    return "detached" if job.patience_s else None


def _on_gpu(job: Job) -> bool:
    return job.placement.device.startswith("cuda")


def _check_reachable(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), REACH_S).close()
        except OSError as error:
            raise ConnectionError(f"no Ray cluster answers at {address}: {error}") from error
