"""The autoscaler's loop: at each time of decision observe, propose, decide, journal, act, journal.

It may die at any point. The cluster keeps the last deployment; whoever leads next reads the journal, finds out what became of
a decision that was left open, and goes on. A decision's id is the journal's id and the number of the interval, so the same
interval is never acted on twice, and the version of the deployment in force keeps two writers apart.
"""

from __future__ import annotations

import logging
import math
import queue
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from envs.contract import Decision, Observation
from envs.digest import digest
from envs.envelope import History, Limits
from envs.scenario import Scenario
from runtime.account import Account, Grounds
from runtime.actuators.actuator import Actuator, ActuatorError, InForce, Outcome
from runtime.autoscaler import records
from runtime.autoscaler.decision import Verdict, decide, problem_with
from runtime.autoscaler.journal import Journal, Record, newest_first
from runtime.autoscaler.lease import Lease
from runtime.autoscaler.meters import Meters
from runtime.autoscaler.policy_host import PolicyHost
from runtime.autoscaler.reload import Setup
from runtime.clock import Clock
from runtime.deployment_json import from_json
from runtime.sources.source import Source

Mode = Literal["act", "advisory", "shadow"]
STANDBY_S = 1.0
SILENT_INTERVALS, LEAST_SILENCE_S = 3, 6.0  # a tick in trouble waits for its time limits, 5 s together

log = logging.getLogger("tidal.autoscaler")


def silence_limit_s(interval_s: float) -> float:
    """A loop that has not come round for this long is taken for hung, and another process for the leader."""
    return max(SILENT_INTERVALS * interval_s, LEAST_SILENCE_S)


class LeaseLost(Exception):
    """Another process leads now."""


class Autoscaler:
    """One process' loop.

    Args:
        scenario: the problem.
        host: the acting policy.
        source: observes.
        actuator: acts.
        journal_folder: where the journal is kept.
        lease: who leads.
        clock: time.
        interval_s: between decisions, which are at whole multiples of it.
        limits: the operator's.
        mode: act; advisory: decide and journal, never act; shadow: act, and journal what `shadow_host` would have done.
        shadow_host: another policy, for the mode shadow only.
        open_source: makes the source anew where another form of the scenario is taken up; None: the same goes on.
        open_journal: makes the journal, once this process leads.
    """

    def __init__(self, scenario: Scenario, host: PolicyHost, source: Source, actuator: Actuator, journal_folder: Path,
                 lease: Lease, clock: Clock, *, interval_s: float, limits: Limits, mode: Mode = "act",
                 shadow_host: PolicyHost | None = None, open_source: Callable[[Scenario], Source] | None = None,
                 open_journal: Callable[[Path], Journal] = Journal) -> None:
        self._scenario, self._host, self._source, self._actuator = scenario, host, source, actuator
        self._folder, self._lease, self._clock, self._open_journal = journal_folder, lease, clock, open_journal
        self._interval_s, self._limits, self._mode, self._shadow_host = interval_s, limits, mode, shadow_host
        self._open_source = open_source
        self._setups: queue.SimpleQueue[Setup] = queue.SimpleQueue()
        self._history: History = ()
        self._failures_told: Counter[str] = Counter()
        self._last_number: int | None = None
        self._in_force: InForce | None = None
        self._journal: Journal | None = None
        self._blind = ""
        self._beat_s = clock.now_s()
        self.meters = Meters()

    @property
    def leading(self) -> bool:
        """True while this process decides; others stand by."""
        return self._journal is not None

    @property
    def _id(self) -> str:
        """Of the journal."""
        return self._journal.id if self._journal else ""

    def silence_s(self) -> float:
        """Time since the loop last came round."""
        return self._clock.now_s() - self._beat_s

    def take(self, setup: Setup) -> None:
        """Other policies, limits and numbers of the scenario, from the next decision on; from any thread."""
        self._setups.put(setup)

    def close(self) -> None:
        """Ends the policies' threads, and closes the source."""
        self._setup.close()
        _close(self._source)

    @property
    def _setup(self) -> Setup:
        return Setup(self._host, self._limits, self._shadow_host)

    def run(self, stop: threading.Event) -> None:
        """Stands by until it leads, then decides at each time of decision, until told to stop."""
        try:
            while not stop.is_set():
                self._beat_s = self._clock.now_s()
                if self._lease.hold():
                    self._lead(stop)
                else:
                    self._clock.sleep_until(self._clock.now_s() + STANDBY_S, stop)
        finally:
            self._lease.release()

    def _lead(self, stop: threading.Event) -> None:
        """Goes on with the journal, and decides while this process holds the lease."""
        self.resume()
        due = math.ceil(self._clock.now_s() / self._interval_s - 1e-6)
        due += due == self._last_number  # an interval is decided on once, whoever decides
        while True:
            due = min(due, math.floor(self._clock.now_s() / self._interval_s + 1e-6) + 1)  # the clock may have been set back
            self._clock.sleep_until(due * self._interval_s, stop)
            if stop.is_set():
                self._write({"type": "stop", "at_s": self._clock.now_s()})
                break
            if not self._lease.hold():
                log.warning("another process leads now")
                break
            try:
                self.tick(due)
            except LeaseLost:
                log.warning("another process leads now; the decision at %d is not made", due * self._interval_s)
                break
            except Exception:  # whatever it was, the cluster keeps what it has, and the next decision is made anew
                self.meters.skipped.inc()
                log.exception("the decision at %d failed", due * self._interval_s)
            past = math.floor(self._clock.now_s() / self._interval_s - 1e-6)
            if past > due:
                self.meters.skipped.inc(past - due)
                log.warning("%d times of decision have passed during the last one", past - due)
            due = max(due, past) + 1
        self._stand_down()

    def resume(self) -> None:
        """Opens the journal and takes up what it says: the policies' memory, the envelope's state, an open decision."""
        self._journal = self._open_journal(self._folder)
        memory = self._remind(self._setup)
        self._history = memory.history
        if memory.observations:
            self._last_number = round(memory.observations[-1].t_s / self._interval_s)
        if self._lease.usurped:
            self._current()
        if memory.open_intent is not None:
            self._reconcile(memory.open_intent)
        self._write({"type": "start", "at_s": self._clock.now_s(), "mode": self._mode, "scenario": self._scenario.name,
                     "remembered": len(memory.observations)})
        self.meters.leading.set(1)

    def _renew(self) -> None:
        """Goes on by what was given last, with the memory of what was before."""
        while not self._setups.empty():
            before, now = self._setup, self._setups.get()
            self._take_scenario(now.scenario)
            self._remind(now)
            self._host, self._limits, self._shadow_host = now.host, now.limits, now.shadow_host
            self._failures_told = Counter()
            before.close()
            self.meters.reloads.labels("taken").inc()
            log.info("other policies and limits are taken up")
            self._write({"type": "reload", "at_s": self._clock.now_s(), "scenario_digest": digest(self._scenario)})

    def _take_scenario(self, scenario: Scenario | None) -> None:
        """Another form of the problem. By a new source nothing is known for one interval, and what is in force stays."""
        if scenario is None or digest(scenario) == digest(self._scenario):
            return
        self._scenario = scenario
        log.info("another form of the scenario is taken up")
        if self._open_source:
            _close(self._source)
            self._source = self._open_source(scenario)

    def _remind(self, setup: Setup) -> records.Remembered:
        """Gives policies the observations that their memory needs, from the journal."""
        memory = self._remembered(max(host.memory_intervals for host in setup.hosts))
        for host in setup.hosts:
            host.remember(memory.observations)
        return memory

    def _remembered(self, intervals: int) -> records.Remembered:
        try:
            return records.remembered(newest_first(self._folder), self._scenario, intervals)
        except (KeyError, TypeError, ValueError) as error:
            log.error("the journal cannot be read back (%s: %s); going on without a past", type(error).__name__, error)
            return records.Remembered()

    def tick(self, number: int) -> Verdict | None:
        """One decision, at `number` x interval. None: what is in force is not known, so nothing can be decided."""
        began = time.perf_counter()
        t_s = number * self._interval_s
        self._beat_s = self._clock.now_s()
        self._renew()
        in_force = self._current()
        if in_force is None:
            self.meters.skipped.inc()
            return None
        observation = self._source.read(t_s, in_force.deployment)
        if self._source.trouble:
            self.meters.source_failures.inc()
            log.warning("metrics: %s", self._source.trouble)
        proposal = self._host.propose(observation)
        verdict = decide(observation, proposal.decision, self._history, self._limits.at(t_s), self._scenario,
                         max(t_s, self._clock.now_s()))
        shadow = self._shadow(observation, verdict)
        if not self._lease.hold():  # we may have been frozen meanwhile
            raise LeaseLost
        decision_id = f"{self._id}/{number}"
        self._write(records.intent(decision_id, self._clock.now_s(), self._mode, observation, in_force, proposal, verdict,
                                   self._scenario, shadow))
        grounds = Grounds(proposal.by, proposal.decision.reason, verdict.bounds)
        self._history = verdict.history  # what fails in the midst of acting may have changed something
        status, detail = self._act(verdict, in_force, decision_id, grounds)
        self._history = records.settled(verdict.history, t_s, status)
        self._measure(observation, verdict, status, began)
        self._alarm(verdict.blind)
        trouble = "; ".join(filter(None, (self._source.trouble, proposal.failure, detail)))
        self._actuator.tell(Account(decision_id, t_s, self._interval_s, self._mode, status,
                                    str(verdict.decision.deployment), grounds, trouble))
        log.info("%s by %s: %s%s; %s: %s", decision_id, proposal.by, proposal.decision.reason,
                 "".join(f"; {bound}" for bound in verdict.bounds), status, verdict.decision.deployment)
        return verdict

    def _current(self) -> InForce | None:
        """What is in force; the last that is known where it cannot be read now; None where none can be decided on."""
        try:
            self._in_force = self._actuator.current()
        except ActuatorError as error:
            self.meters.actuator_failures.inc()
            log.warning("%s", error)
        if self._in_force and (problem := problem_with(Decision(self._in_force.deployment, ""), self._scenario, running=True)):
            log.error("what is in force is not of the scenario %s: %s", self._scenario.name, problem)
            return None
        if self._in_force and self._lease.usurped and self._mode != "advisory":
            self._in_force = self._claimed(self._in_force)
        return self._in_force

    def _claimed(self, in_force: InForce) -> InForce | None:
        """What is in force, as a version of our own: a leader before us that may yet live cannot act on the one it knows."""
        decision_id = f"{self._id}/claim-{secrets.token_hex(4)}"
        grounds = Grounds(reason="the leader before was silent: another goes on from what is in force")
        found = self._actuator.apply(in_force.deployment, in_force.version, decision_id, grounds)
        if found.status == "refused":  # pinned, say: nobody can act now; claimed later
            return in_force
        self._lease.usurped = found.status == "unknown"
        log.warning("the leader before was silent; claimed what is in force: %s %s", found.status, found.detail)
        return InForce(in_force.deployment, found.version, decision_id) if found.status == "applied" else None

    def _act(self, verdict: Verdict, in_force: InForce, decision_id: str, grounds: Grounds) -> tuple[str, str]:
        """Acts, where something is to be done: what became of it, and why not more."""
        if not verdict.acts:
            return "unchanged", ""
        if self._mode == "advisory":
            return "advised", ""
        found = self._actuator.apply(verdict.decision.deployment, in_force.version, decision_id, grounds)
        self._write(records.outcome(decision_id, self._clock.now_s(), found))
        if found.status != "applied":
            log.warning("%s %s: %s", decision_id, found.status, found.detail)
        return found.status, found.detail

    def _shadow(self, observation: Observation, acting: Verdict) -> Record | None:
        """What the shadow policy would have done here, in the acting one's place."""
        if self._shadow_host is None:
            return None
        proposal = self._shadow_host.propose(observation)
        verdict = decide(observation, proposal.decision, self._history, self._limits.at(observation.t_s), self._scenario,
                         max(observation.t_s, self._clock.now_s()))
        told = records.shadow(proposal, verdict, acting)
        self.meters.shadow.labels("yes" if told["agrees"] else "no").inc()
        return told

    def _reconcile(self, intent: Record) -> None:
        """Finds out what became of a decision that a process left open; makes up for it within its interval only."""
        try:
            in_force = self._actuator.current()
        except ActuatorError as error:
            log.warning("decision %s is left open: %s", intent["decision_id"], error)
            return
        if in_force.decision_id == intent["decision_id"]:
            found = Outcome("applied", in_force.version, "found in force after a restart")
        elif self._clock.now_s() < intent["t_s"] + self._interval_s:
            found = self._actuator.apply(from_json(intent["deployment"]), intent["version"], intent["decision_id"],
                                         records.grounds(intent))
        else:
            found = Outcome("abandoned", in_force.version, "not in force after a restart, and its interval is over")
        self._write(records.outcome(intent["decision_id"], self._clock.now_s(), found))

    def _write(self, record: Record) -> None:
        """Writes to the journal. A full disk is told, but does not stop scaling."""
        try:
            if self._journal is not None:
                self._journal.append(record)
        except OSError as error:
            self.meters.journal_failures.inc()
            log.error("journal: %s; going on without", error)

    def _measure(self, observation: Observation, verdict: Verdict, status: str, began: float) -> None:
        meters = self.meters
        meters.decisions.labels(status).inc()
        meters.bound.inc(bool(verdict.bounds))
        meters.age.set(observation.age_s)
        meters.breaker.set(self._host.open)
        for cause, count in (self._host.failures - self._failures_told).items():
            meters.failures.labels(cause).inc(count)
        self._failures_told = Counter(self._host.failures)
        meters.tick.observe(time.perf_counter() - began)

    def _alarm(self, blind: str) -> None:
        """Tells when the load is known no longer, and when it is again."""
        if blind and not self._blind:
            log.warning("blind: %s; what is in force stays", blind)
        elif self._blind and not blind:
            log.warning("no longer blind: %s", self._blind)
        self._blind = blind
        self.meters.blind.set(bool(blind))

    def _stand_down(self) -> None:
        """Stops leading; the journal may be another process' from here on."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        self.meters.leading.set(0)


def _close(source: Source) -> None:
    """Some sources hold connections."""
    if hasattr(source, "close"):
        source.close()
