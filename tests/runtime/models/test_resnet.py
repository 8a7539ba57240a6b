"""The built-in ResNets: published sizes, another implementation, and the same answers however they are cut."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from networks import parameters, run_parted, state_dict, whole
from safetensors.torch import save_file

from runtime.models import catalogue
from runtime.models.model import Alone, ModelError, Placement, TensorSpec
from runtime.models.network import NetworkModel, survey
from runtime.models.resnet import RESNETS

# Parameters and billions of multiply-adds as torchvision publishes them.
PUBLISHED = {
    "resnet18": (11_689_512, 1.81),
    "resnet34": (21_797_672, 3.66),
    "resnet50": (25_557_032, 4.09),
    "resnet101": (44_549_160, 7.80),
    "resnet152": (60_192_808, 11.51),
}


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    count, multiply_adds = PUBLISHED[name]
    assert parameters(RESNETS[name]) == count
    costs, _, _ = survey(RESNETS[name], Placement())
    assert sum(costs) / 2e9 == pytest.approx(multiply_adds, abs=0.0051)


def test_specs_and_memory():
    model = NetworkModel(RESNETS["resnet18"], Placement(), Alone())
    assert model.inputs == (TensorSpec("image", "FP32", (-1, 3, 224, 224)),)
    assert model.outputs == (TensorSpec("logits", "FP32", (-1, 1000)),)
    assert model.memory_bytes == 0
    model.load()
    running_statistics = 2 * 4800  # a mean and a variance for each of 4800 channels that are normalised
    counters = 20 * 8  # an int64 in each norm
    assert model.memory_bytes == 4 * (11_689_512 + running_statistics) + counters
    model.warm_up(3)
    model.unload()
    assert model.memory_bytes == 0
    with pytest.raises(ModelError, match="resnet18: not loaded"):
        model.warm_up(1)


@pytest.mark.parametrize("name, stages", [("resnet18", 2), ("resnet18", 5), ("resnet18", 10), ("resnet50", 3)])
def test_cut_into_stages_the_answer_is_the_same(name, stages, images):
    (wanted,) = whole(RESNETS[name]).run((images,))
    assert wanted.shape == (2, 1000) and wanted.std() > 0.1
    (found,) = run_parted(RESNETS[name], (images,), stages, 1)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_the_outputs_of_a_stage_are_the_inputs_of_the_next():
    models = [NetworkModel(RESNETS["resnet50"], Placement(stage, 4, dtype="bfloat16"), Alone()) for stage in range(4)]
    assert models[0].inputs[0].datatype == models[-1].outputs[0].datatype == "FP32"
    for before, after in pairwise(models):
        assert before.outputs == after.inputs
        assert before.outputs[0].datatype == "BF16"


def test_half_precision_is_near_single_precision(images):
    (wanted,) = whole(RESNETS["resnet18"]).run((images,))
    model = NetworkModel(RESNETS["resnet18"], Placement(dtype="bfloat16"), Alone())
    model.load()
    (found,) = model.run((images,))
    assert found.dtype == torch.float32
    assert (found - wanted).norm() / wanted.norm() < 0.05  # bfloat16 has 8 bits of mantissa


def test_weights_depend_on_the_seed_alone(images):
    one, same, other = (whole(RESNETS["resnet18"], seed=seed).run((images,))[0] for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=0.01)


@pytest.mark.parametrize("form", ["weights.safetensors", "weights.pt"])
def test_weights_from_a_file(form, images, tmp_path):
    tensors = state_dict(RESNETS["resnet18"], seed=7)
    assert len(tensors) == 122 and "layer4.0.downsample.1.running_var" in tensors  # as torchvision's
    path = tmp_path / form
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
    (wanted,) = whole(RESNETS["resnet18"], seed=7).run((images,))
    (found,) = run_parted(RESNETS["resnet18"], (images,), 2, 1, weights=str(path))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_weights_of_another_model(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(state_dict(RESNETS["resnet18"]), path)
    model = NetworkModel(RESNETS["resnet50"], Placement(), Alone(), weights=str(path))
    with pytest.raises(ModelError, match=r"'layer1.0.conv1.weight' has shape \[64, 64, 3, 3\], the model's is \[64, 64, 1"):
        model.load()
    model = NetworkModel(RESNETS["resnet34"], Placement(), Alone(), weights=str(path))
    with pytest.raises(ModelError, match=r"no tensor 'layer1.2.conv1.weight'; the file has 122, such as bn1.bias"):
        model.load()


def test_a_resnet_has_no_ranks():
    with pytest.raises(ModelError, match="resnet18: a ResNet cannot be shared by 2 ranks"):
        NetworkModel(RESNETS["resnet18"], Placement(intra_op=2), Alone())


@pytest.mark.parametrize("name, kind, hidden", [
    ("resnet34", "basic", [64, 128, 256, 512]), ("resnet50", "bottleneck", [256, 512, 1024, 2048])])
def test_the_same_as_transformers(name, kind, hidden, images):
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    network = RESNETS[name]
    config = transformers.ResNetConfig(layer_type=kind, hidden_sizes=hidden, depths=list(network.depths), num_labels=1000)
    other = transformers.ResNetForImageClassification(config).eval()
    other.load_state_dict({_renamed(n): t for n, t in state_dict(network, seed=2).items()})
    with torch.inference_mode():
        wanted = other(images).logits
    (found,) = whole(network, seed=2).run((images,))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def _renamed(name):
    """The name that transformers gives a tensor."""
    first, *rest, kind = name.split(".")
    if first == "fc":
        return f"classifier.1.{kind}"
    part = {"conv": "convolution", "bn": "normalization", "0": "convolution", "1": "normalization"}
    if not first.startswith("layer"):
        return f"resnet.embedder.embedder.{part[first[:-1]]}.{kind}"
    layer, block, inner = int(first[5:]) - 1, rest[0], rest[1:]
    place = f"resnet.encoder.stages.{layer}.layers.{block}"
    if inner[0] == "downsample":
        return f"{place}.shortcut.{part[inner[1]]}.{kind}"
    return f"{place}.layer.{int(inner[0][-1]) - 1}.{part[inner[0][:-1]]}.{kind}"


def test_pictures_of_another_side_meet_the_same_weights_and_no_other_pictures_are_taken():
    small = catalogue.make("resnet18@64")
    small.load()
    assert small.inputs == (TensorSpec("image", "FP32", (-1, 3, 64, 64)),) and small.name == "resnet18@64"
    mine, theirs = state_dict(replace(RESNETS["resnet18"], side=64)), state_dict(RESNETS["resnet18"])
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert small.run((torch.ones(2, 3, 64, 64),))[0].shape == (2, 1000)
    with pytest.raises(ModelError, match="64"):
        small.run((torch.ones(1, 3, 224, 224),))


@pytest.mark.parametrize("name", ["resnet18@", "resnet18@0", "resnet18@-3", "resnet18@big", "bert-tiny@64"])
def test_a_side_that_is_none_is_an_unknown_model(name):
    with pytest.raises(ModelError, match=f"no model '{name}'"):
        catalogue.make(name)
