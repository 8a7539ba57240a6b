"""The performance model: published sizes, rooflines in closed form, constants fitted again, errors within the aim."""

from dataclasses import replace

import numpy as np
import pytest

from baselines.architectures import SIZES, Transformer, architecture
from baselines.hardware import MACHINES, V100, Link, machine
from baselines.operators import Architecture, Layer, Operator
from baselines.parallelise import parallelise
from baselines.roofline_fit import Measured, fit, predicted_s
from reports.reproductions import performance_model

GIB = 2**30
DEVICE = replace(V100, peak_flops=1e12, peak_bytes=1e11, compute_efficiency=0.5, memory_efficiency=0.5, launch_s=0.001,
                 head_s=0.25, score_bytes=2.0)


# ---- Sizes


@pytest.mark.parametrize(("name", "gmacs", "parameters"), [
    ("resnet18", 1.814, 11.69e6), ("resnet34", 3.664, 21.80e6), ("resnet50", 4.089, 25.56e6), ("resnet101", 7.801, 44.55e6),
    ("resnet152", 11.514, 60.19e6)])
def test_resnets_have_the_arithmetic_and_weights_that_torchvision_tells(name, gmacs, parameters):
    model = architecture(name, 4)
    assert model.flops / 2e9 == pytest.approx(gmacs, rel=1e-3)
    assert model.weight_bytes / 4 == pytest.approx(parameters, rel=5e-3)  # without normalisations and biases


@pytest.mark.parametrize(("name", "inter_op", "intra_op", "gib"), [
    ("bert-1.3b", 1, 1, 2.644), ("bert-1.3b", 2, 1, 1.323), ("bert-1.3b", 4, 1, 0.760), ("bert-1.3b", 1, 2, 1.322),
    ("bert-1.3b", 1, 4, 0.661), ("bert-2.6b", 1, 1, 5.180), ("bert-2.6b", 4, 1, 1.419), ("bert-6.7b", 1, 1, 12.788),
    ("bert-6.7b", 4, 1, 3.395), ("bert-6.7b", 1, 4, 3.198), ("bert-15b", 2, 1, 14.56), ("bert-15b", 4, 1, 7.53)])
def test_the_fullest_device_holds_what_was_measured(name, inter_op, intra_op, gib):
    """Weights that the re-profile on RTX 3090 recorded, stages by hand."""
    plan = parallelise(architecture(name), MACHINES["rtx3090"], inter_op, intra_op, by_hand=True)
    assert max(plan.weight_bytes) / GIB == pytest.approx(gib, rel=0.005)


@pytest.mark.parametrize(("name", "peaks"), [("bert-2.6b", (5.378, 2.794, 1.621, 1.035, 0.742)),
                                             ("bert-6.7b", (12.99, 6.61, 3.61, 2.11, 1.36))])
def test_the_peak_of_memory_is_what_was_measured(name, peaks):
    """Weights and the activations of one sequence of 1024 tokens, GPTs in 1 to 16 stages (AlpaServe's artefact)."""
    model = replace(SIZES[name], sequence=1024).architecture(name, 2)
    for stages, peak in zip((1, 2, 4, 8, 16), peaks):
        plan = parallelise(model, MACHINES["v100"], stages, 1, by_hand=True)
        assert (max(plan.weight_bytes) + plan.activation_bytes) / GIB == pytest.approx(peak, rel=0.02)


def test_tables_of_the_kaggle_recommender():
    """540 million parameters, nearly all in tables (Naumov et al., 2019)."""
    assert architecture("dlrm-kaggle", 4).weight_bytes / 4 == pytest.approx(540e6, rel=0.01)


def test_own_sizes_are_read():
    own = architecture("transformer:sequence=512,hidden=768,layers=12,heads=12,vocabulary=30522")
    assert own.layers == architecture("bert-base").layers and len(own.layers) == 26
    for text, told in [("bert-1.3", "did you mean 'bert-1.3b'"), ("mlp:width=3", "no kind of model 'mlp'"),
                       ("resnet:depth=19", "no ResNet of depth 19"), ("resnet:width=2", "'width=2' is not a size"),
                       ("transformer:hidden=4", "give sequence, layers, heads, vocabulary"), ("resnet:depth=0", "above 0")]:
        with pytest.raises(ValueError, match=told):
            architecture(text)


# ---- Rooflines


def test_an_operator_takes_its_arithmetic_or_its_traffic():
    compute = Operator("a", "matmul", flops=5e11, weight_bytes=1e9)
    assert DEVICE.operator_s(compute, 2) == pytest.approx(0.001 + 2.0)
    assert DEVICE.operator_s(compute, 2, share=0.25) == pytest.approx(0.001 + 0.5)
    traffic = Operator("b", "matmul", flops=1e9, moved_bytes=1e9, weight_bytes=49e9)
    assert DEVICE.operator_s(traffic, 1) == pytest.approx(0.001 + 1.0)
    assert DEVICE.operator_s(traffic, 51) == pytest.approx(0.001 + 2.0)  # weights are read once for a batch
    lookup = Operator("c", "lookup", moved_bytes=1e9, weight_bytes=1e12)
    assert DEVICE.operator_s(lookup, 3) == pytest.approx(0.001 + 0.06)  # of a table only the rows that are asked for
    heads = Operator("d", "heads", moved_bytes=1e9, heads=4, scores=12e9)
    assert DEVICE.operator_s(heads, 1) == pytest.approx(0.001 + 1.0)
    assert DEVICE.operator_s(heads, 4) == pytest.approx(0.001 + 2.0)


def test_collectives_are_rings():
    link = Link("made", {2: 1e9, 4: 2e9}, 0.5, "made")
    assert link.send_s(3e9) == pytest.approx(3.5)
    assert link.all_reduce_s(8e9, 4) == pytest.approx(0.5 + 6 * (0.5 + 1.0))  # 2 (n - 1) steps of 1 / n at 2 GB/s
    assert link.all_gather_s(8e9, 4) == link.reduce_scatter_s(8e9, 4) == pytest.approx(0.5 + 3 * (0.5 + 1.0))
    assert link.all_gather_s(9e9, 3) == pytest.approx(0.5 + 2 * (0.5 + 3.0))  # three have the rate of two
    assert link.all_reduce_s(1e9, 1) == 0.0


def test_a_model_takes_its_stages_and_what_passes_between():
    layers = tuple(Layer(f"{i}", (Operator("a", "matmul", flops=i * 5e11, output_bytes=1e9),)) for i in (1, 2, 3))
    on = replace(MACHINES["v100"], device=DEVICE, link=Link("l", {2: 1e10}, 0.0, "made"),
                 network=Link("n", {2: 1e9}, 0.0, "made"), node_devices=2)
    plan = parallelise(Architecture("made", layers), on, 3, 1)
    assert plan.stage_s() == pytest.approx((1.001, 2.001 + 0.1, 3.001 + 1.0))  # the third is on the second node
    assert plan.stage_s(4) == pytest.approx((4.001, 8.001 + 0.4, 12.001 + 4.0))
    with pytest.raises(ValueError, match="4 devices share a stage of made, a node has 2"):
        parallelise(Architecture("made", layers), on, 1, 4)


def test_one_plan_serves_all_batches_and_slices_are_no_worse_than_by_hand():
    for stages in (2, 4, 8):
        best, by_hand = (parallelise(architecture("bert-1.3b"), machine("v100"), stages, 1, hand) for hand in (False, True))
        assert max(best.stage_s()) <= max(by_hand.stage_s())
        assert sum(best.weight_bytes) == pytest.approx(sum(by_hand.weight_bytes))


def test_operators_as_layers_are_the_same_model():
    """What passes in the middle of a block is the operator's output and what came in, which the block adds at its end."""
    model = Transformer(16, 8, 2, 2, 100).architecture("small", 2)
    finer = model.by_operator()
    assert len(finer.layers) == 2 + 4 * 4 + 2
    assert (finer.flops, finer.weight_bytes) == (pytest.approx(model.flops), pytest.approx(model.weight_bytes))
    state = 16 * 8 * 2
    assert [layer.output_bytes / state for layer in finer.layers[:10]] == [1, 1, 4, 2, 2, 1, 5, 5, 2, 1]
    coarse, fine = (sum(parallelise(a, machine("v100"), 1, 1).stage_s()) for a in (model, finer))
    assert coarse == pytest.approx(fine)
    recommender = architecture("dlrm-kaggle")
    assert recommender.by_operator().layers[0] == recommender.layers[0]


def test_an_unknown_device_is_told():
    with pytest.raises(ValueError, match="no device 'v10', did you mean 'v100'"):
        machine("v10")


# ---- Constants


def test_a_fit_finds_the_constants_that_made_the_rows():
    small = Transformer(256, 512, 4, 8, 1000).architecture("small", 2)
    large = Transformer(1024, 2048, 4, 16, 1000).architecture("large", 2)
    true = MACHINES["v100"]
    rows = [Measured(model, stages, shards, batch, 0.0) for model in (small, large) for stages, shards in ((1, 1), (2, 2))
            for batch in (1, 8)]
    rows = [replace(row, latency_s=predicted_s(true, row)) for row in rows]
    off = replace(true, device=replace(true.device, compute_efficiency=0.5, launch_s=1e-4),
                  link=replace(true.link, bytes_per_s={**true.link.bytes_per_s, 2: 5e9}))
    found = fit(off, rows, ("compute_efficiency", "launch_s"), (2,))
    assert found.device.compute_efficiency == pytest.approx(true.device.compute_efficiency, rel=1e-3)
    assert found.device.launch_s == pytest.approx(true.device.launch_s, rel=1e-3)
    assert found.link.bytes_per_s[2] == pytest.approx(true.link.bytes_per_s[2], rel=1e-3)
    with pytest.raises(ValueError, match="2 rows for 3 constants"):
        fit(off, rows[:2], ("compute_efficiency", "launch_s"), (2,))


@pytest.mark.parametrize(("device", "constants", "ranks"), [
    ("v100", ("compute_efficiency", "score_bytes", "head_s", "launch_s"), (2, 4, 8)),
    ("rtx3090", ("compute_efficiency", "score_bytes"), (2, 4)), ("cpu", ("compute_efficiency",), ())])
def test_the_constants_are_fitted_to_the_rows_that_say_so(device, constants, ranks):
    table = performance_model.predicted()
    rows = [performance_model.measured(row)
            for row in table[(table.device == device) & (table.fitted == 1)].to_dict("records")]
    found = fit(MACHINES[device], rows, constants, ranks)
    for name in constants:
        assert getattr(found.device, name) == pytest.approx(getattr(MACHINES[device].device, name), rel=0.01)
    for n in ranks:
        assert found.link.bytes_per_s[n] == pytest.approx(MACHINES[device].link.bytes_per_s[n], rel=0.01)


def test_errors_and_picks_are_within_the_aim():
    rows = list(performance_model.rows())
    judged = [row for row in rows if row.reached is not None]
    assert len(judged) == 3 and all(row.reached for row in judged)
    table = performance_model.predicted()
    assert (table.fitted == 1).sum() == 15 and len(table) == 184
    assert len(performance_model.account(rows)) == 3


def test_error_is_a_geometric_mean_and_a_pick_is_right_or_costs():
    frame = performance_model.predicted().iloc[:2].assign(latency_s=[1.0, 1.0], predicted_latency_s=[2.0, 0.125])
    assert performance_model.error(frame) == pytest.approx(np.sqrt(16) - 1)
    pair = frame.assign(batch=1, devices=4, latency_s=[1.0, 1.5], slowest_s=np.nan)
    found = performance_model.picks(pair)
    assert found.what.tolist() == ["least latency"] and not found.right[0] and found.loss[0] == pytest.approx(0.5)
