"""Runs the autoscaler with an exported agent and prints what it imported, and who unpickled what, as JSON."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
UNPICKLERS = set()


def watch(event, _):
    """An unpickler that looks a class up says so to audit hooks; the nearest frame is who called it."""
    if event == "pickle.find_class":
        UNPICKLERS.add(sys._getframe(1).f_globals.get("__name__", ""))


ROOMS = ("traces", "envs", "baselines", "agents", "runtime")
sys.addaudithook(watch)

from baselines.static import Static  # noqa: E402
from envs.scenario_file import load  # noqa: E402
from runtime import autoscale_command  # noqa: E402
from runtime.actuators.dry_run import DryRun  # noqa: E402
from runtime.autoscaler import web  # noqa: E402, F401
from runtime.autoscaler.journal import newest_first  # noqa: E402
from runtime.autoscaler.lease import FileLease  # noqa: E402
from runtime.autoscaler.policy_host import HostedPolicy, PolicyHost  # noqa: E402
from runtime.autoscaler.process import Autoscaler, Limits  # noqa: E402
from runtime.sources import prometheus, scrape  # noqa: E402
from runtime.sources.page import SourceError  # noqa: E402
from runtime.sources.source import PagedSource  # noqa: E402


class Blind:
    def pages(self):
        raise SourceError("nothing")

    def pages_at(self, t_s):
        return {}


def main(folder):
    import threading

    scenario = load("resnet-variants")
    hosted = autoscale_command._hosted("ppo", scenario, 1000.0)
    host = PolicyHost(hosted, HostedPolicy("static", Static(), scenario, 100.0), 30)
    stop, times = threading.Event(), []

    class Clock:
        def now_s(self):
            return times[-1] if times else 0.0

        def sleep_until(self, t_s, stop):
            times.append(t_s)
            if len(times) > 4:
                stop.set()

    Autoscaler(scenario, host, PagedSource(scenario, Blind(), 30), DryRun(scenario.initial_deployment), folder,
               FileLease(folder), Clock(), interval_s=30, limits=Limits()).run(stop)
    intents = [record for record in newest_first(folder) if record["type"] == "intent"]
    ours = sorted(name for name in sys.modules if name.partition(".")[0] in ROOMS)
    print(json.dumps({
        "decisions": len(intents), "by": sorted({record["by"] for record in intents}), "ours": ours,
        "forbidden": [n for n in ("torch", "stable_baselines3", "cloudpickle", "joblib", "dill") if n in sys.modules],
        "our_pickles": [n for n in ours if any(hasattr(sys.modules[n], w) for w in ("pickle", "cPickle", "cloudpickle"))],
        "unpicklers": sorted(UNPICKLERS), "sources": [prometheus.__name__, scrape.__name__]}))


main(Path(sys.argv[1]))
