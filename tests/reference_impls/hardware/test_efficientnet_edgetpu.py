from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, relu, unfold

from reference_impls.fpga.gemm import SystolicArray
from reference_impls.fpga.ports import IntArray
from reference_impls.fpga.requantise import Requantise
from reference_impls.fpga.simulate import simulate
from reference_impls.hardware import efficientnet_edgetpu as ee
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import digits
from reference_impls.kit.quantizers import curve
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic, train


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(-127, 128, shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    return train(ee.network, 3, epochs=2)


@pytest.fixture(scope="module")
def layers(trained: nn.Module) -> list[ee.Int8Convolution]:
    with torch.no_grad():
        return ee.quantize(ee.folded(trained), digits().train_x[:200])


def test_the_toy_is_stem_fused_block_and_head() -> None:
    network = ee.network()
    names = [type(part).__name__ for part in network]
    assert names == [*["Conv2d", "BatchNorm2d", "ReLU"] * 2, "Conv2d", "BatchNorm2d", "Flatten", "Linear"]
    shapes = [(tuple(p.weight.shape), p.padding[0], p.bias) for p in network if isinstance(p, nn.Conv2d)]
    assert shapes == [((4, 1, 3, 3), 0, None), ((16, 4, 3, 3), 1, None), ((8, 16, 1, 1), 0, None)]
    assert network(digits().test_x[:2]).shape == (2, 10)


def test_folding_leaves_the_network_what_it_was(trained: nn.Module) -> None:
    x = digits().test_x[:50]
    with torch.no_grad():
        y = x
        found = ee.folded(trained)
        for weight, bias, padding, rises in found:
            y = conv2d(y, weight, bias, padding=padding)
            y = relu(y) if rises else y
        assert torch.allclose(y.flatten(1), trained(x), atol=1e-4)
    assert [rises for _, _, _, rises in found] == [True, True, False, False]
    assert [padding for _, _, padding, _ in found] == [0, 1, 0, 0]
    norm = nn.BatchNorm2d(2)
    norm.get_buffer("running_var").zero_()
    ((weight, _, padding, _),) = ee.folded(nn.Sequential(nn.Conv2d(1, 2, 1, padding=2), norm, nn.ReLU()))
    assert padding == 2
    assert float(weight.detach().abs().max()) > 1  # divided by the square root of epsilon, not by 0 or by 1


def test_filters_have_127_steps_each_way_and_their_own_scale() -> None:
    w = torch.tensor([[1.0, -0.5, 0.25], [-2.54, 0.01, 0.03]])
    integers, scale = ee.filter_integers(w)
    assert scale.flatten().tolist() == pytest.approx([1 / 127, 0.02])
    assert integers.tolist() == [[127, -64, 32], [-127, 0, 2]]
    cube = torch.stack([w, 2 * w]).unsqueeze(-1)
    assert ee.filter_integers(cube)[1].shape == (2, 1, 1, 1)


def test_activations_have_256_levels_between_the_extremes() -> None:
    x = torch.tensor([-1.0, 0.0, 0.5, 4.1])
    integers, scale = ee.tensor_integers(x)
    assert float(scale) == pytest.approx(0.02)
    assert integers.tolist() == [-50, 0, 25, 205]


def test_quantizers_pass_the_gradient() -> None:
    assert [(q.name, q.bits) for q in ee.QUANTIZERS] == [("weights", 8), ("activations", 8)]
    for quantizer in ee.QUANTIZERS:
        drawn = curve(quantizer)
        assert set(drawn.gradient) == {1.0}
        assert 200 < len(set(drawn.y)) <= 256
        x = torch.randn(3, 7)
        integers, scale = quantizer.to_integers(x)
        assert torch.equal(quantizer.quantize(x), integers * scale)


def test_integers_follow_the_real_network_within_steps(trained: nn.Module, layers: list[ee.Int8Convolution]) -> None:
    split = digits()
    x = torch.round(split.test_x * 8).to(torch.int64)
    real, scale, zero = split.test_x, 1 / 8, 0
    with torch.no_grad():
        for (weight, bias, padding, rises), layer in zip(ee.folded(trained), layers, strict=True):
            real = conv2d(real, weight, bias, padding=padding)
            real = relu(real) if rises else real
            assert (layer.zero, layer.padding) == (zero, padding)
            assert torch.equal(layer.weight, ee.filter_integers(weight)[0])
            x = layer(x)
            zero = layer.after.zero_point
            assert int(x.min()) >= -128
            assert int(x.max()) <= 127
            sample = real[:1]
            step = float((real.max() - torch.clamp(real.min(), max=0.0)) / 255)
            error = (step * (x - zero) - real).abs().mean() / step
            assert float(error) < 6, "the ranges are those of another sample, so steps differ by some percent"
            if rises:
                assert zero == -128
            assert sample.shape[1] == len(layer.bias)
    assert float((x.flatten(1).argmax(dim=1) == real.flatten(1).argmax(dim=1)).float().mean()) > 0.97
    assert scale == 1 / ee.PIXEL


def test_biases_and_multipliers_by_hand() -> None:
    weight = torch.tensor([[[[0.5]]], [[[-1.0]]]])
    bias = torch.tensor([0.3, 0.25])
    second = (torch.tensor([[[[1.27]], [[-0.5]]]]), torch.tensor([0.1]), 0, False)
    sample = torch.tensor([-1.0, 0.0, 0.5, 1.0]).reshape(4, 1, 1, 1)
    first, last = ee.quantize([(weight, bias, 1, True), second], sample)
    assert first.weight.flatten().tolist() == [127, -127]
    assert first.bias.tolist() == [610, 254]  # 0.3 * 8 * 127 / 0.5, 0.25 * 8 * 127
    assert (first.zero, first.padding) == (0, 1)
    # the greatest output is 1.25, its step 1.25 / 255
    expected = np.array([0.5, 1.0]) / 127 / 8 / (1.25 / 255)
    assert first.after.multipliers / 2.0**first.after.shift == pytest.approx(expected, rel=1e-6)
    assert int(first.after.multipliers.max()).bit_length() == 24
    assert (first.after.zero_point, first.after.low, first.after.high) == (-128, -128, 127)
    assert last.weight.flatten().tolist() == [127, -50]
    assert last.zero == -128
    assert last.bias.tolist() == [round(0.1 / (1.25 / 255 * 0.01)) + 128 * 77]
    assert first.after.width == 32
    x = torch.tensor([[[[4]]]])
    y = first(x)[0, :, 1, 1]
    assert y.tolist() == [round(0.55 / (1.25 / 255)) - 128, -128]


def test_a_convolution_on_integers_pads_with_the_zero_point() -> None:
    after = Requantise(np.array([3, -2]), 4, 5, -128, 127, 32)
    weight = draw(2, 3, 3, 3)
    layer = ee.Int8Convolution(weight, torch.tensor([100, -7]), 1, -9, after)
    x = draw(2, 3, 4, 5, seed=1)
    padded = pad(x + 9, (1, 1, 1, 1)) - 9
    right = conv2d(padded.double(), weight.double()).long()
    assert torch.equal(layer.sums(x), right)
    shifted = right + torch.tensor([100, -7])[:, None, None]
    expected = torch.clamp((torch.tensor([3, -2])[:, None, None] * shifted + 8 >> 4) + 5, -128, 127)
    assert torch.equal(layer(x), expected)


@pytest.mark.parametrize(("rows", "columns", "together"), [(18, 8, 2), (9, 4, 1), (6, 4, 1), (40, 3, 3), (27, 8, 3)])
def test_depthwise_filters_lie_on_block_diagonals(rows: int, columns: int, together: int) -> None:
    array = SystolicArray(rows, columns, 4)
    x, w = draw(1, 5, 5, 5).double(), draw(5, 1, 3, 3, seed=2)
    windows = unfold(x, 3)[0].T.long().numpy()
    products = ee.packed_depthwise(array, windows, w.flatten(1).numpy())
    assert len(products) == -(-5 // together)
    assert products[0][1].shape == (9 * together, together)
    assert max(int((diagonal != 0).sum(axis=1).max()) for _, diagonal in products) == 1
    outputs = np.concatenate([a @ b for a, b in products], axis=1)
    right = conv2d(x, w.double(), groups=5)[0].flatten(1).T.numpy()
    np.testing.assert_array_equal(outputs, right)
    tiles = sum(array.tiles(9, len(b), b.shape[1]) for _, b in products)
    cycles = tiles * array.interval + rows + columns
    assert ee.depthwise_cycles(array, 9, 3, 5) == cycles


@pytest.mark.parametrize(("rows", "columns", "vectors"), [(18, 2, 9), (9, 3, 5), (10, 2, 16)])
def test_simulated_cycles_are_those_of_the_formula(rows: int, columns: int, vectors: int) -> None:
    array = SystolicArray(rows, columns, vectors)
    x = draw(1, 3, 3, 4)
    expand, depthwise, project = ee.separable_block((3, 4, 3), 1)
    columns_of_x = unfold(x.double(), 1)[0].T.long().numpy()
    (sums,), cycles = ee.execute(array, [(columns_of_x, expand.weight.flatten(1).T.numpy())])
    assert cycles == array.cycles(12, 3, 4)
    np.testing.assert_array_equal(sums, expand.sums(x)[0].flatten(1).T.numpy())
    assert ee.run_block(array, [depthwise, project], expand(x)) == (
        0,
        ee.depthwise_cycles(array, 12, 3, 4) + array.cycles(12, 4, 3),
    )


def test_random_stalls_do_not_change_a_depthwise_product() -> None:
    array = SystolicArray(9, 3, 5)
    depthwise = ee.separable_block((2, 3, 1), 5)[1]
    x = draw(1, 3, 3, 4, seed=4)
    for a, b in depthwise.products(array, x):
        frames = array.split(a, b)
        np.testing.assert_array_equal(array.join(simulate(array, frames, stall=0.4).outputs, 12, 9, 1), a @ b)


def test_a_fused_block_on_the_array(layers: list[ee.Int8Convolution]) -> None:
    x = layers[0](torch.round(digits().test_x[:1] * 8).to(torch.int64))
    wrong, cycles = ee.run_block(ee.ARRAY, layers[1:2], x)
    assert (wrong, cycles) == (0, ee.ARRAY.cycles(36, 36, 16))


def test_wrong_sums_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    array = SystolicArray(9, 3, 5)
    block = ee.separable_block((2, 3, 1), 5)
    right = ee.execute

    def off(array: SystolicArray, products: list[ee.Product]) -> tuple[list[IntArray], int]:
        parts, _ = right(array, products)
        parts[-1][0, 0] += 1
        parts[-1][3, -1] -= 1
        return parts, 7

    monkeypatch.setattr(ee, "execute", off)
    assert ee.run_block(array, block, draw(1, 2, 3, 3)) == (6, 21)


def test_one_turned_weight_shows_in_one_channel() -> None:
    array = SystolicArray(18, 4, 9)
    layer = ee.separable_block((2, 4, 1), 6)[1]
    x = draw(1, 4, 3, 3)
    before = np.concatenate(ee.execute(array, layer.products(array, x))[0], axis=1)
    layer.weight[2, 0, 1, 1] += 1
    after = np.concatenate(ee.execute(array, layer.products(array, x))[0], axis=1)
    assert (before != after).any(axis=0).tolist() == [False, False, True, False]


def test_the_separable_block_is_random_int8_and_keeps_the_size() -> None:
    block = ee.separable_block((4, 6, 3), 1)
    assert [tuple(layer.weight.shape) for layer in block] == [(6, 4, 1, 1), (6, 1, 3, 3), (3, 6, 1, 1)]
    assert [layer.padding for layer in block] == [0, 1, 0]
    assert {layer.zero for layer in block} == {0}
    assert all(not layer.bias.any() for layer in block)
    assert [len(layer.bias) for layer in block] == [6, 6, 3]
    every = torch.cat([layer.weight.flatten() for layer in ee.separable_block((64, 64, 64), 1)])
    assert (int(every.min()), int(every.max())) == (-127, 127)
    assert torch.equal(block[0].weight, ee.separable_block((4, 6, 3), 1)[0].weight)
    assert not torch.equal(block[0].weight, ee.separable_block((4, 6, 3), 2)[0].weight)
    y = block[0](torch.full((1, 4, 2, 2), 100))
    assert torch.equal(y, torch.clamp(block[0].sums(torch.full((1, 4, 2, 2), 100)) + 128 >> 8, -128, 127))


def test_the_gain_of_fusing_by_hand() -> None:
    array = SystolicArray(9, 4, 10)  # tiles take 14 cycles, and 13 drain
    # 1x1 2 to 6: 2 tiles a block of 10 pixels; depthwise: 6; 3x3 2 to 6: 2 x 2; 1x1 6 to 3: 1
    separable, fused = 14 * 2 * (2 + 6 + 1) + 3 * 13, 14 * 2 * (4 + 1) + 2 * 13
    assert ee.gain_of_fusing(array, 20, 3, (2, 6, 3)) == pytest.approx(separable / fused)
    wide = SystolicArray(27, 4, 10)  # three channels a tile, and 31 cycles to drain
    separable, fused = 14 * 2 * (2 + 2 + 1) + 3 * 31, 14 * 2 * (2 + 1) + 2 * 31
    assert ee.gain_of_fusing(wide, 20, 3, (2, 6, 3)) == pytest.approx(separable / fused)
    assert ee.depthwise_cycles(wide, 20, 3, 2) == 14 * 2 + 31
    assert ee.depthwise_cycles(wide, 20, 3, 7) == 14 * 2 * 3 + 31
    assert ee.depthwise_cycles(wide, 20, 6, 2) == 14 * 2 * 2 * 2 + 31  # 36 taps need two tiles of rows


def test_stages_are_those_of_the_released_model() -> None:
    stages = [*ee.FUSED, *ee.DEPTHWISE]
    assert [c for _, _, (c, _, _) in stages] == [24, 24, 32, 48, 96, 144]
    assert [n for _, _, (_, _, n) in stages] == [24, 32, 48, 96, 144, 192]
    assert [between // c for _, _, (c, between, _) in stages] == [4, 8, 8, 8, 8, 8]
    assert [pixels for pixels, _, _ in stages] == [112**2, 56**2, 28**2, 14**2, 14**2, 7**2]
    assert [kernel for _, kernel, _ in stages] == [3, 3, 3, 5, 5, 5]
    assert (ee.ARRAY.rows, ee.ARRAY.columns, ee.LARGE.rows, ee.LARGE.columns) == (18, 8, 64, 64)


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def quick(build: Any, seed: int) -> nn.Module:
        assert build is ee.network
        return train(build, seed, epochs=1)

    def run(array: SystolicArray, layers: list[ee.Int8Convolution], x: Tensor) -> tuple[int, int]:
        seen.append((array, [tuple(layer.weight.shape) for layer in layers], tuple(x.shape)))
        return (3, 272) if len(layers) == 2 else (4, 562)

    monkeypatch.setattr(ee, "train", quick)
    monkeypatch.setattr(ee, "run_block", run)
    metrics = ee.reproduce(2)
    assert seen == [
        (ee.ARRAY, [(16, 4, 3, 3), (8, 16, 1, 1)], (1, 4, 6, 6)),
        (ee.ARRAY, [(16, 4, 1, 1), (16, 1, 3, 3), (8, 16, 1, 1)], (1, 4, 6, 6)),
    ]
    assert metrics["wrong_sums"] == 7
    assert (metrics["fused_cycles"], metrics["separable_cycles"]) == (272, 562)
    assert metrics["more_multiplications"] == pytest.approx(704 / 336)
    assert metrics["utilisation_ratio"] == pytest.approx(704 / 336 * 562 / 272)
    assert metrics["int8_accuracy"] == pytest.approx(metrics["float_accuracy"], abs=2)
    assert 60 < metrics["int8_accuracy"] < 100
    gains = [ee.gain_of_fusing(ee.LARGE, *stage) for stage in (*ee.FUSED, *ee.DEPTHWISE)]
    assert metrics["least_gain_where_fused"] == min(gains[:3])
    assert metrics["greatest_gain_where_depthwise"] == max(gains[3:])
    named = {name for claim in ee.CLAIMS for name in (claim.metric, *_baseline(claim))}
    assert named | {"more_multiplications"} == set(metrics)


def _baseline(claim: object) -> list[str]:
    named = claim.expected if isinstance(claim, Exact) else getattr(claim, "baseline", None)
    return [named] if isinstance(named, str) else []


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(ee.RECORD))
    with deterministic(0):
        metrics = ee.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        bound = 3 if name.endswith("_accuracy") else 1e-4
        assert value == pytest.approx(accepted.metrics[name][0], abs=bound)
