"""Prints for each policy of the registry a digest of what it decides. The argument is a new folder for a scenario's files."""

import hashlib
import sys
from pathlib import Path

from test_alpaserve_policy import scenario as placed
from test_every_policy import HOMES, NAMES, decisions, made

from baselines import alpaserve, alpaserve_online
from envs.scenario_file import load

alpaserve.BUDGET = alpaserve_online.BUDGET = alpaserve_online.ANEW = 1e4
folder = Path(sys.argv[1])
folder.mkdir()
scenarios = {name: load(name) for name in ("resnet-variants", "video", "cascade", "edge")} | {"placed": placed(folder)}
for name in NAMES:
    home, policy = scenarios[HOMES.get(name, "resnet-variants")], made(name)
    policy.reset(home)
    rows = [(sorted(map(str, d.deployment.replicas.items())), sorted(map(str, d.deployment.routes.items())), d.reason,
             sorted(d.details.items())) for d in decisions(policy.decide, home)]
    print(name, hashlib.sha256(repr(rows).encode()).hexdigest()[:16])
