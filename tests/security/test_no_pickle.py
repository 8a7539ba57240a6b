"""No file that comes from outside may run code: no loader can unpickle, by what is written there and by trying each."""

import ast
import pickle
import re
from pathlib import Path

import pytest
from test_policy_files import RUN, Harm

from agents.network_policy import NetworkPolicy
from agents.order_keep_policy import OrderKeepNetwork
from agents.proposals_policy import ProposalsNetwork
from agents.quantile_forecaster import LearnedQuantiles
from agents.tuned_planner import TunedPlanner
from baselines import settings_file
from envs.scenario_file import check, load
from runtime import serve_command
from runtime.autoscaler.journal import Journal, newest_first
from runtime.autoscaler.limits_file import read_limits
from runtime.serving.state_file import StateFile
from traces.readers import read as read_trace

ROOT = Path(__file__).parents[2]
ROOMS = ("traces", "envs", "baselines", "agents", "runtime")
UNSAFE_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "pandas.io.pickle"}
BUILTINS = {"eval", "exec", "compile"}
UNSAFE_CALLS = {"unsafe_load", "full_load", "read_pickle", "load_all"}
WORDS = re.compile("|".join((*UNSAFE_MODULES, *UNSAFE_CALLS, *(rf"\b{name}\(" for name in BUILTINS),
                            r"(yaml|torch|np|numpy)\.load\b")))  # most files have none of these
SAFE = {  # and why
    ("runtime/models/weights.py", "pickle"): "the error of torch's reader of tensors alone, in workers",
}
OFFLINE = {"agents/sb3_policy.py"}  # `evaluate.py` alone takes models of Stable-Baselines3, and warns


def sources():
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def unsafe(path):
    """What could run code that is in a file."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text)) if WORDS.search(text) else ():
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in UNSAFE_MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in UNSAFE_MODULES:
            yield node.module
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            of = getattr(getattr(node.func, "value", None), "id", "")
            safely = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            if isinstance(node.func, ast.Name) and name in BUILTINS:
                yield name
            if name in UNSAFE_CALLS or (of, name) == ("yaml", "load"):
                yield f"{of}.{name}"
            if (of, name) == ("torch", "load") and safely.get("weights_only") is not True:
                yield "torch.load"
            if (of, name) in (("np", "load"), ("numpy", "load")) and safely.get("allow_pickle"):
                yield "numpy.load"


def test_nothing_that_runs_live_can_unpickle():
    found = {(str(path.relative_to(ROOT)), what) for path in sources() for what in unsafe(path)}
    assert {f for f in found if f[0] not in OFFLINE} == set(SAFE)
    assert len(sources()) > 200  # it has looked


def test_the_search_finds_what_it_should(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("import pickle\nfrom joblib import load\neval('1')\nyaml.load(x)\ntorch.load(p)\n"
                    "np.load(p, allow_pickle=True)\n"
                    "torch.load(p, weights_only=True)\nre.compile('')\nyaml.safe_load(x)\nmodel.eval()\n")
    assert sorted(unsafe(path)) == ["eval", "joblib", "numpy.load", "pickle", "torch.load", "yaml.load"]


def test_the_offline_model_is_out_of_reach_of_the_runtime():
    for path in (ROOT / "runtime").rglob("*.py"):
        assert "sb3_policy" not in path.read_text() and "stable_baselines3" not in path.read_text(), path


def journal(path):
    folder = path.parent / "journal"
    folder.mkdir(exist_ok=True)
    path.rename(folder / "journal-00000001.jsonl")
    list(newest_first(folder))
    Journal(folder).close()


def folder_of(make):
    def read(path):
        folder = path.parent / "agent"
        folder.mkdir()
        for name in ("manifest.json", "weights.safetensors", "planner.json"):
            (folder / name).write_bytes(path.read_bytes())
        make(folder)
    return read


def scenario(path):
    problems = check(path)
    assert problems
    raise ValueError(problems[0])


def profile(path):
    (path.parent / "scenario.yaml").write_text("name: x\nprofile: file.yaml\n")
    scenario(path.parent / "scenario.yaml")


def models(path):
    from runtime.models.model import ModelError
    from runtime.models.weights import StoredWeights

    try:
        StoredWeights(path.rename(path.with_suffix(".pt")))
    except ModelError as error:
        raise ValueError(str(error)) from error


LOADERS = {
    "scenario": scenario, "profile": profile, "trace": read_trace, "limits": lambda path: read_limits(path, load("live-demo")),
    "tokens": serve_command._callers, "models": serve_command._models, "settings": settings_file.read, "state": StateFile,
    "journal": journal, "network": folder_of(NetworkPolicy), "order-keep": folder_of(OrderKeepNetwork),
    "proposals": folder_of(ProposalsNetwork), "quantiles": folder_of(LearnedQuantiles), "planner": folder_of(TunedPlanner),
    "weights": models,
}


@pytest.mark.parametrize("payload", ["pickle", "old pickle", "zip", "yaml", "yaml new"])
@pytest.mark.parametrize("loader", LOADERS)
def test_a_file_that_means_harm_is_refused_and_runs_nothing(loader, payload, tmp_path):
    RUN.clear()
    made = tmp_path / "made"
    data = {
        "pickle": pickle.dumps(Harm()), "old pickle": pickle.dumps(Harm(), protocol=0),
        "zip": b"PK\x03\x04" + b"\0" * 26 + pickle.dumps(Harm()),
        "yaml": f"!!python/object/apply:os.mkdir ['{made}']\n".encode(),
        "yaml new": f"name: !!python/object/new:os.mkdir\n  args: ['{made}']\n".encode(),
    }[payload]
    path = tmp_path / "file.yaml"
    path.write_bytes(data)
    try:
        LOADERS[loader](path)
    except ValueError:
        refused = True
    else:
        refused = loader == "journal"  # whose lines that are no JSON a crash has left: they are passed over
    assert refused and not RUN and not made.exists()
