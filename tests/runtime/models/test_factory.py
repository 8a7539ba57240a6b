"""Any module by path: how it is run and cut, and what is said where it cannot be."""

import made_modules
import pytest
import torch

from runtime.models.factory import FactoryModel, find
from runtime.models.model import ModelError, Placement, TensorSpec


def loaded(name, **placement):
    model = FactoryModel(f"made_modules:{name}", Placement(**placement))
    model.load()
    return model


@pytest.fixture
def features():
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(1))


def test_a_module_runs_as_it_would_by_itself(features):
    torch.manual_seed(0)
    module = made_modules.classifier()
    model = loaded("classifier")
    assert model.inputs == (TensorSpec("features", "FP32", (-1, 4)),)
    assert model.outputs == (TensorSpec("output_0", "FP32", (-1, 3)), TensorSpec("output_1", "FP32", (-1, 8)))
    assert model.memory_bytes == 4 * (4 * 8 + 8 + 8 * 3 + 3)
    for found, wanted in zip(model.run((features,)), module(features), strict=True):
        torch.testing.assert_close(found, wanted)
        assert not found.requires_grad and found.is_inference()


def test_the_seed_makes_the_weights_and_the_process_keeps_its_own(features):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same = loaded("classifier"), loaded("classifier")
    other = FactoryModel("made_modules:classifier", Placement(), seed=1)
    other.load()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.run((features,))[0], same.run((features,))[0])
    assert not torch.equal(one.run((features,))[0], other.run((features,))[0])


@pytest.mark.parametrize("name, stages, parts", [
    ("row", 1, [65]), ("row", 2, [20, 45]), ("row", 3, [20, 30, 15]), ("row_with_points", 3, [20, 42, 3])])
def test_a_sequential_is_cut_into_stages(name, stages, parts, features):
    torch.manual_seed(0)
    wanted = made_modules.row().eval()(features)
    tensors, bytes_, after = (features,), [], None
    for stage in range(stages):
        model = loaded(name, stage=stage, inter_op=stages)
        assert after in (None, model.inputs)
        model.warm_up(2)
        tensors, after = model.run(tensors), model.outputs
        bytes_.append(model.memory_bytes)
    assert bytes_ == [4 * part for part in parts]
    assert after == (TensorSpec("output", "FP32", (-1, 1)),)
    torch.testing.assert_close(tensors[0], wanted)


def test_dtype_inside_and_float32_outside(features):
    model = loaded("row", dtype="float16")
    assert model.memory_bytes == 2 * 65
    assert model.run((features,))[0].dtype == torch.float32
    assert model.outputs == (TensorSpec("output", "FP32", (-1, 1)),)
    assert loaded("row", inter_op=2, dtype="float16").outputs == (TensorSpec("hidden", "FP16", (-1, 4)),)


def test_what_goes_between_stages_can_be_sent(features):
    first = loaded("turned", inter_op=2)
    assert first.outputs == (TensorSpec("hidden", "FP32", (-1, 2, 2)),)
    assert first.run((features,))[0].is_contiguous()


@pytest.mark.parametrize("name, placement, message", [
    ("no_module", {}, "returned int; it must return an nn.Module"),
    ("raises", {}, "raised KeyError: 'colour'"),
    ("no_example", {}, "needs `example_inputs`"),
    ("wrong_example", {}, "its example_inputs do not go through it: RuntimeError"),
    ("no_batch", {}, r"'output' has shape \[4\] for one request and \[4\] for two; its first dimension must be the batch"),
    ("words", {}, "its forward returns str; return a tensor"),
    ("classifier", {"inter_op": 2}, "a Classifier cannot be cut into 2 stages; return an nn.Sequential"),
    ("row", {"inter_op": 6}, "5 blocks cannot be cut into 6 stages"),
    ("row_with_points", {"inter_op": 2}, r"split_points \['b', 'd'\] do not make 2 stages; name 1 of b, drop, c, d"),
    ("row_with_wrong_points", {"inter_op": 3}, r"split_points \['b', 'z'\] do not make 3 stages"),
    ("row", {"intra_op": 2}, "cannot be shared by ranks"),
    ("row", {"device": "fpga"}, "no device 'fpga' here .*; give cpu or cuda:N"),
    ("row", {"device": "cuda:63"}, "no device 'cuda:63' here"),
    ("row", {"device": "gpu1"}, "no device 'gpu1' here"),
    ("row", {"dtype": "int8"}, "dtype 'int8' is not one of float32, float16, bfloat16")])
def test_what_is_wrong_is_said(name, placement, message):
    with pytest.raises(ModelError, match=f"^made_modules:{name}: .*{message}"):
        loaded(name, **placement)


@pytest.mark.parametrize("path, message", [
    ("nowhere.models:make", "no module 'nowhere'; is its folder on PYTHONPATH"),
    ("runtime.nowhere:make", "no module 'runtime.nowhere'"),
    ("made_modules:make", "'made_modules' has nothing called 'make' that can be called; it has: OrderedDict, classifier, "),
    ("made_modules:__name__", "nothing called '__name__'")])
def test_a_path_to_nothing(path, message):
    with pytest.raises(ModelError, match=message):
        find(path)


def test_a_module_that_cannot_be_imported(tmp_path, monkeypatch):
    (tmp_path / "made_wrong.py").write_text("import a_library_that_nobody_has\n")
    (tmp_path / "made_worse.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match="'made_wrong' imports 'a_library_that_nobody_has', which is not installed"):
        find("made_wrong:make")
    with pytest.raises(ModelError, match="importing 'made_worse' raised ZeroDivisionError"):
        find("made_worse:make")


@pytest.mark.parametrize("place", [{"stage": 1}, {"rank": 2, "intra_op": 2}, {"inter_op": 0}])
def test_a_place_that_is_not_there(place):
    with pytest.raises(ModelError, match="give"):
        Placement(**place)
