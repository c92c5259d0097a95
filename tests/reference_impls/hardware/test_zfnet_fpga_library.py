from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.fpga.dot import Multiply
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.pipeline import Pipeline
from reference_impls.fpga.ports import IntArray
from reference_impls.fpga.simulate import simulate
from reference_impls.hardware import zfnet_fpga_library as zf
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import digits
from reference_impls.kit.quantizers import curve
from reference_impls.kit.results import read
from reference_impls.kit.train import accuracy, deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=80)


def layer_of(channels: int = 4, neurons: int = 3, *, shift: int = 6, width: int = 8, seed: int = 0) -> zf.Layer:
    random = np.random.default_rng(seed)
    half = 1 << (width - 1)
    weights = random.integers(-half, half, (neurons, 3, 3, channels))
    weights[0], weights[1] = half - 1, -half
    return zf.Layer(weights, random.integers(-half, half, neurons), 3, shift, width)


def features_for(count: int, side: int, channels: int, seed: int = 1) -> IntArray:
    features = np.random.default_rng(seed).integers(0, 256, (count, side, side, channels))
    features[0] = 255
    return features


def oracle(layer: zf.Layer, features: IntArray) -> IntArray:
    """The neuron of the VHDL model, number by number."""
    size, side = layer.weights.shape[1], features.shape[1]
    out = np.zeros((len(features), side - size + 1, side - size + 1, len(layer.weights)), dtype=np.int64)
    for n, i, j, o in np.ndindex(*out.shape):
        sum_ = int(layer.bias[o]) * 2**layer.bias_shift
        for at in np.ndindex(*layer.weights.shape[1:]):
            sum_ += int(layer.weights[(o, *at)]) * int(features[n, i + at[0], j + at[1], at[2]])
        out[n, i, j, o] = 0 if sum_ < 0 else min(sum_ // 2**layer.output_shift, 2**layer.width - 1)
    return out


@pytest.mark.parametrize(("shift", "width"), [(0, 8), (6, 8), (9, 4), (12, 8)])
def test_the_untimed_model_is_the_neuron_of_the_vhdl(shift: int, width: int) -> None:
    layer = layer_of(shift=shift, width=width)
    features = features_for(2, 5, 4)
    found = layer.run(features)
    assert found.shape == (2, 3, 3, 3)
    assert np.array_equal(found, oracle(layer, features))
    assert found.max() == (1 << width) - 1
    assert found.min() == 0


def test_outputs_are_truncated_not_rounded() -> None:
    layer = zf.Layer(np.ones((1, 1, 1, 1), dtype=np.int64), np.array([0]), 0, 2, 8)
    assert layer.run(np.arange(9).reshape(9, 1, 1, 1)).flatten().tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]


@pytest.mark.parametrize(("parallel", "shift"), [(1, 0), (2, 6), (4, 6), (4, 11)])
def test_the_whole_layer_is_the_model_and_keeps_the_formula(parallel: int, shift: int) -> None:
    layer = layer_of(shift=shift)
    features = features_for(3, 5, 4)
    hardware = zf.whole(layer, 5, 8, parallel)
    run = simulate(hardware, features.reshape(3, -1))
    right = oracle(layer, features).reshape(3, -1)
    assert np.array_equal(run.outputs, right)
    assert np.array_equal(hardware.model(features.reshape(3, -1)), right)
    assert run.interval == hardware.interval == zf.frame_cycles(9, 36, parallel) == 9 * 36 / parallel
    stalled = simulate(hardware, features.reshape(3, -1), stall=0.3, seed=parallel)
    assert np.array_equal(stalled.outputs, right)


@pytest.mark.parametrize(("channels", "parallel", "beats"), [(3, 4, 7), (3, 2, 14), (3, 9, 3), (1, 4, 3), (2, 4, 5)])
def test_neurons_alone_fill_up_the_last_beat(channels: int, parallel: int, beats: int) -> None:
    layer = layer_of(channels)
    n = 9 * channels
    features = features_for(9, 3, channels)
    windows = np.pad(features.reshape(3, 3, n), ((0, 0), (0, 0), (0, beats * parallel - n)), constant_values=9)
    hardware = zf.neurons(layer, 3, 8, parallel)
    run = simulate(hardware, windows.reshape(3, -1))
    assert np.array_equal(run.outputs, oracle(layer, features).reshape(3, -1))
    assert run.interval == hardware.interval == zf.frame_cycles(3, n, parallel) == 3 * beats
    assert np.array_equal(simulate(hardware, windows.reshape(3, -1), stall=0.3).outputs, run.outputs)


def test_every_neuron_has_its_own_multipliers_of_the_stated_widths() -> None:
    layer = layer_of(width=6)
    hardware = zf.whole(layer, 6, 8)
    window, sums, relu = hardware.stages
    assert isinstance(sums, MatrixVector)
    assert sums.element == Multiply(8, "unsigned", 6)
    assert (sums.pe, sums.simd, sums.vectors) == (3, 4, 16)
    assert (window.output.lanes, window.input.elements) == (4, 6 * 6 * 4)
    assert (relu.output.width, relu.output.kind, relu.output.lanes) == (6, "unsigned", 3)
    assert isinstance(zf.neurons(layer, 16, 8), Pipeline)


def test_a_weight_a_bias_and_a_shift_show_in_hardware() -> None:
    layer = layer_of(neurons=3, shift=8, seed=2)
    features = features_for(2, 4, 4, seed=3)
    was = simulate(zf.whole(layer, 4, 8), features.reshape(2, -1)).outputs
    weights, bias = layer.weights.copy(), layer.bias.copy()
    weights[2, 1, 2, 3] ^= 64
    bias[2] += 100
    for other in (
        zf.Layer(weights, layer.bias, 3, 8, 8),
        zf.Layer(layer.weights, bias, 3, 8, 8),
        zf.Layer(layer.weights, layer.bias, 3, 7, 8),
    ):
        found = simulate(zf.whole(other, 4, 8), features.reshape(2, -1)).outputs
        assert np.array_equal(found, oracle(other, features).reshape(2, -1))
        assert not np.array_equal(found, was)


@pytest.mark.parametrize(
    ("positions", "weights", "parallel", "cycles"),
    [(110 * 110, 147, 4, 447_700), (9, 36, 4, 81), (9, 37, 4, 90), (5, 3, 8, 5), (7, 6, 1, 42)],
)
def test_frame_cycles(positions: int, weights: int, parallel: int, cycles: int) -> None:
    assert zf.frame_cycles(positions, weights, parallel) == cycles


@PROPERTY
@given(st.floats(1e-6, 1e6), st.integers(1, 16))
def test_fraction_bits_are_the_most_that_fit(largest: float, bits: int) -> None:
    f = zf.fraction_bits(largest, bits)
    assert Fraction(largest) * Fraction(2) ** f < 2**bits <= Fraction(largest) * Fraction(2) ** (f + 1)


def test_fixed_point_truncates_towards_zero() -> None:
    found = zf.fixed(torch.tensor([-1.99, -0.25, 0.24, 0.26, 3.0], requires_grad=True), 2)
    assert found.dtype == torch.int64
    assert found.tolist() == [-7, -1, 0, 1, 12]
    assert zf.fixed(torch.tensor([5.0, -5.0]), -1).tolist() == [2, -2]


@pytest.mark.parametrize(("fraction", "bias", "shift"), [(6, 0.9, 6), (0, 0.9, 0), (6, 0.01, 0), (6, 4.0, 9)])
def test_integers_of_a_layer_fit_their_width_and_stand_for_its_numbers(fraction: int, bias: float, shift: int) -> None:
    part = nn.Linear(2, 2)
    part.weight.data = torch.tensor([[0.9, -0.3], [0.5, 0.7]])
    part.bias.data = torch.tensor([bias, -bias / 3])
    weights, biases, bias_shift, sums = zf.integers_of(part, fraction, 8)
    assert sums == fraction + 7
    assert weights.tolist() == [[115, -38], [64, 89]]
    assert bias_shift == shift
    assert 63 * (shift > 0) < int(biases.abs().max()) <= 127
    step = 2.0 ** (shift - sums)
    assert float((part.bias.detach() - biases * step).abs().max()) < step


def test_the_toy_network() -> None:
    net = zf.network()
    assert [type(part).__name__ for part in net] == [
        "Conv2d",
        "ReLU",
        "Conv2d",
        "ReLU",
        "MaxPool2d",
        "Flatten",
        "Linear",
    ]
    assert [tuple(p.shape) for p in net.parameters()] == [(4, 1, 3, 3), (4,), (8, 4, 3, 3), (8,), (10, 32), (10,)]
    assert net(digits().test_x[:2]).shape == (2, 10)


@pytest.fixture(scope="module")
def trained() -> nn.Sequential:
    net = train(zf.network, 1, epochs=2)
    assert isinstance(net, nn.Sequential)
    return net


@pytest.mark.parametrize("width", [16, 8, 5])
def test_converted_layers_follow_the_network(trained: nn.Sequential, width: int) -> None:
    layers, fraction = zf.convert(trained, width)
    x = digits().test_x[:50]
    signed, first, second = zf.hidden(layers, x, width)
    assert signed.shape == (50, 8, 8, 1)
    with torch.no_grad():
        after_one = trained[:2](x).permute(0, 2, 3, 1).numpy()
        after_two = trained[:4](x).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(signed[..., 0], (x[:, 0] * 2 ** (width - 2)).int().numpy())
    assert [layer.width for layer in layers] == [width, width]
    assert first.shape == after_one.shape
    assert np.array_equal(first, oracle(layers[0], signed))
    assert second.max() < 2**width
    assert np.abs(second / 2.0**fraction - after_two).max() < 40 * after_two.max() / 2**width
    largest = float(trained[:4](digits().train_x).detach().max())
    assert fraction == zf.fraction_bits(largest, width)
    for layer in layers:
        assert abs(layer.weights).max() < 2 ** (width - 1)
        assert abs(layer.bias).max() < 2 ** (width - 1)
        assert min(layer.bias_shift, layer.output_shift) >= 0
    assert first.max() > after_one.max()


def test_wide_fixed_point_is_as_accurate_as_floats_and_narrow_is_not(trained: nn.Sequential) -> None:
    assert zf.fixed_accuracy(trained, 16) == accuracy(trained)
    assert zf.fixed_accuracy(trained, 2) < accuracy(trained) - 20


def test_the_last_layers_bias_is_added_on_the_grid_of_its_sums(trained: nn.Sequential) -> None:
    net = zf.network()
    net.load_state_dict(trained.state_dict())
    last = net[6]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        gap = (net(digits().test_x).topk(2, dim=1).values @ torch.tensor([1.0, -1.0])).median()
        last.bias[3] += float(gap)
    assert accuracy(net) < accuracy(trained)
    assert zf.fixed_accuracy(net, 16) == accuracy(net)


@pytest.mark.parametrize("quantizer", zf.QUANTIZERS, ids=lambda q: q.name)
def test_quantizers_are_scale_times_integers_and_unlike_plain_rounding(quantizer: Any) -> None:
    x = torch.linspace(-0.9, 0.9, 41).reshape(1, -1)
    integers, scale = quantizer.to_integers(x)
    assert torch.equal(scale * integers, quantizer.quantize(x))
    assert scale == (2.0**-7 if quantizer.name == "weights" else 2.0**-6)
    rounded = torch.round(x / scale) * scale
    assert not torch.equal(quantizer.quantize(x), rounded.clamp(min=0) if quantizer.name == "activations" else rounded)
    drawn = curve(quantizer)
    assert (drawn.bits, len(set(drawn.gradient))) == (8, 1 if quantizer.name == "weights" else 2)


def test_the_quantizers_gradients() -> None:
    x = torch.tensor([-0.1, 0.0, 0.1, 3.9, 4.0, 5.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(zf.activation(x).sum(), x)
    assert gradient.tolist() == [0, 0, 1, 1, 0, 0]
    assert zf.activation(x).tolist() == [0, 0, 6 / 64, 249 / 64, 255 / 64, 255 / 64]
    (gradient,) = torch.autograd.grad(zf.weight(x).sum(), x)
    assert not gradient.any()
    assert zf.weight(x.detach() / 8).tolist() == [-1 / 128, 0, 1 / 128, 62 / 128, 64 / 128, 80 / 128]


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch, trained: nn.Sequential) -> None:
    ran: list[tuple[Pipeline, IntArray]] = []

    def one_wrong(stage: Pipeline, frames: IntArray) -> SimpleNamespace:
        ran.append((stage, frames))
        outputs = stage.model(frames)
        outputs[2, 5] += 1
        return SimpleNamespace(outputs=outputs, interval=stage.interval + 1.5)

    def given_seed(build: Any, seed: int) -> nn.Module:
        assert (build, seed) == (zf.network, 5)
        return trained

    monkeypatch.setattr(zf, "train", given_seed)
    monkeypatch.setattr(zf, "simulate", one_wrong)
    metrics = zf.reproduce(5)
    (layer, features), (alone, windows) = ran
    named = {claim.metric for claim in zf.CLAIMS}
    named |= {claim.expected for claim in zf.CLAIMS if isinstance(claim, Exact) and isinstance(claim.expected, str)}
    widths = {f"fixed_{width}_bits": width for width in (8, 6, 5, 4, 3)}
    assert named | set(widths) | {"float"} == set(metrics)
    assert metrics["float"] == accuracy(trained)
    for name, width in widths.items():
        assert metrics[name] == zf.fixed_accuracy(trained, width)
    layers, _ = zf.convert(trained, 8)
    assert np.array_equal(features.reshape(4, 6, 6, 4), zf.hidden(layers, digits().test_x[:4], 8)[1])
    assert layer.output.elements == 4 * 4 * 8
    assert windows.shape == (4, 16 * 28)
    assert not windows.reshape(4, 16, 28)[..., 27].any()
    assert windows.max() == 255
    assert alone.output.elements == 16 * 8
    sums = alone.stages[0]
    assert isinstance(sums, MatrixVector)
    assert not sums.weights[:, 27].any()
    assert {int(sums.weights.min()), int(sums.weights.max())} <= {-128, -127, 126, 127}
    assert metrics["wrong_in_hardware"] == 1
    assert metrics["neuron_cycles"] == 16 * 7 + 1.5
    assert metrics["neuron_cycles_by_formula"] == 16 * 7
    assert metrics["layer_cycles"] == 16 * 9 + 1.5
    assert metrics["layer_cycles_by_formula"] == 16 * 9
    assert metrics["zfnet_cycles"] == 447_700
    convolutions = [34_848 - 20_736, 614_400, 884_736, 1_327_104, 884_736]
    assert metrics["convolution_megabytes"] == sum(convolutions) / 1e6
    assert metrics["dense_megabytes"] == (37_748_736 + 16_777_216 + 4_096_000) / 1e6
    sides = [110, 26, 13, 13, 13]
    products = sum(side * side * weights for side, weights in zip(sides, convolutions, strict=True))
    assert metrics["dense_share_of_products"] == 100 * 58_621_952 / (58_621_952 + products)


def test_features_are_what_the_neurons_read(trained: nn.Sequential) -> None:
    def brighter(x: Tensor) -> Tensor:
        return x + 0.25

    layers, _ = zf.convert(trained, 8)
    plain, bright = (zf.hidden(layers, part, 8)[0] for part in (digits().test_x[:3], brighter(digits().test_x[:3])))
    assert ((bright - plain) == 16).all()


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(zf.RECORD))
    with deterministic(0):
        metrics = zf.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        tolerance = 3.0 if name.startswith(("float", "fixed")) else 1e-5 * abs(value)
        assert value == pytest.approx(accepted.metrics[name][0], abs=tolerance)
