"""From descriptions to models, and what is loaded on the way."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from runtime.models import catalogue
from runtime.models.model import ModelError, Placement

ROOT = Path(__file__).parents[3]


def test_names_are_those_of_the_papers():
    names = catalogue.names()
    assert {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"} <= set(names)  # InfAdapter's variants
    assert {"bert-1.3b", "bert-2.7b", "bert-6.7b", "bert-104b"} <= set(names)  # AlpaServe's


def test_a_built_in_model():
    model = catalogue.make("bert-tiny", Placement(stage=1, inter_op=2), seed=1)
    model.load()
    (logits,) = model.run((torch.ones(2, 512, 128), torch.ones(2, 512, dtype=torch.bool)))
    assert model.name == "bert-tiny" and logits.shape == (2, 2)


def test_a_factory():
    assert catalogue.make("made_modules:classifier").name == "made_modules:classifier"


def test_hugging_face(tmp_path):
    with pytest.raises(ModelError, match=f"hf:{tmp_path}: no config.json there"):
        catalogue.make(f"hf:{tmp_path}")


def test_hugging_face_where_it_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    model = catalogue.make(f"hf:{tmp_path}")
    with pytest.raises(ModelError, match=r"transformers is not installed; pip install transformers \(the extra `hf`\)"):
        model.load()


@pytest.mark.parametrize("description, settings, message", [
    ("resnet51", {}, "no model 'resnet51', did you mean 'resnet50'. Known: resnet18, .*bert-104b, hf:PATH, package.module"),
    ("", {}, "no model ''. Known: "),
    ("C:/models/mine", {}, "no model 'C:/models/mine'"),
    ("emulated", {}, "'emulated' computes nothing: a replica of its kind is a runtime.models.emulated.EmulatedReplica"),
    ("made_modules:row", {"weights": "w.pt"}, "weights from a file are for built-in models"),
    ("resnet18", {"weights": "nowhere.pt"}, "nowhere.pt: no file of weights there"),
    ("bert-tiny", {"placement": Placement(intra_op=2)}, "2 ranks need a group")])
def test_what_is_wrong_is_said(description, settings, message):
    with pytest.raises(ModelError, match=message):
        catalogue.make(description, **settings)


@pytest.mark.parametrize("name, content, message", [
    ("w.safetensors", b"no", "not in the form of safetensors"), ("w.pt", b"no", "not a state dict of tensors")])
def test_a_file_that_holds_no_weights(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        catalogue.make("bert-tiny", weights=str(path))
    if path.suffix == ".pt":
        torch.save([1, 2], path)
        with pytest.raises(ModelError, match="holds a list, not a state dict of tensors"):
            catalogue.make("bert-tiny", weights=str(path))


@pytest.mark.parametrize("module", ["runtime", "runtime.models", "runtime.models.catalogue", "runtime.models.emulated"])
def test_without_real_models_there_is_no_torch(module):
    code = f"import sys, {module}; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[]\n", "")
