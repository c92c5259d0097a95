"""DFQ against plain convolutions, numerical integration, brute-force scales and hand-worked channels."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

from reference_impls.kit.catalogue import result_path
from reference_impls.kit.data import digits
from reference_impls.kit.results import read
from reference_impls.post_training import dfq
from reference_impls.post_training.dfq import Layer

CLIPS = [(0.0, math.inf), (0.0, 6.0), (-1.0, 1.0), (-2.0, math.inf)]
positive = st.floats(0.01, 100)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bare(weight: Tensor, groups: int = 1) -> Layer:
    """A layer of zero bias, beta and gamma."""
    zeros = torch.zeros(len(weight), dtype=weight.dtype)
    return Layer(weight, zeros, zeros, zeros, groups)


def uneven(outputs: int, inputs: int, kernel: int, groups: int = 1, seed: int = 0) -> Layer:
    """A layer whose output channels differ in range by up to 10,000."""
    spread = 10 ** random(outputs, seed=seed + 1).clamp(-2, 2)
    weight = random(outputs, inputs // groups, kernel, kernel, seed=seed) * spread.reshape(-1, 1, 1, 1)
    return Layer(weight, random(outputs, seed=seed + 2), random(outputs, seed=seed + 3), spread, groups)


def chain(seed: int = 0) -> list[Layer]:
    """Dense 3x3, depthwise 3x3, pointwise, head: the pairs of the paper's networks."""
    return [
        uneven(6, 1, 3, seed=seed),
        uneven(6, 6, 3, 6, seed=seed + 10),
        uneven(5, 6, 1, seed=seed + 20),
        uneven(10, 5, 1, seed=seed + 30),
    ]


def test_folding_gives_what_convolution_and_batch_norm_give() -> None:
    conv, norm = nn.Conv2d(3, 6, 3, groups=3, bias=False).double(), nn.BatchNorm2d(6).double()
    norm.weight.data, norm.bias.data = random(6, seed=1), random(6, seed=2)
    norm.running_mean, norm.running_var = random(6, seed=3), random(6, seed=4).square()
    x, norm = random(2, 3, 5, 5, seed=5), norm.eval()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    vectors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    layer = dfq.fold(conv.weight, *vectors, groups=3)
    torch.testing.assert_close(conv2d(x, layer.weight, layer.bias, groups=3), norm(conv(x)))
    assert torch.equal(layer.beta, norm.bias)
    assert torch.equal(layer.gamma, norm.weight.abs())
    assert layer.groups == 3


@pytest.mark.parametrize(("outputs", "inputs", "groups"), [(4, 3, 1), (3, 3, 3), (6, 3, 3), (4, 6, 2)])
def test_the_response_is_that_of_a_convolution_to_a_constant_image(outputs: int, inputs: int, groups: int) -> None:
    layer, x = uneven(outputs, inputs, 3, groups), random(inputs, seed=7)
    image = x.reshape(1, -1, 1, 1).expand(1, -1, 3, 3)
    torch.testing.assert_close(layer.respond(x), conv2d(image, layer.weight, groups=groups).flatten())


def test_ranges_are_of_outputs_and_inputs() -> None:
    first = bare(torch.tensor([[[[1.0, -3.0]]], [[[0.5, 0.25]]]]))
    dense = bare(torch.tensor([[[[4.0]], [[-5.0]]], [[[-6.0]], [[1.0]]]]))
    depthwise = bare(torch.tensor([[[[4.0, 2.0]]], [[[-7.0, 1.0]]]]), 2)
    assert [r.tolist() for r in dfq.ranges(first, dense)] == [[6.0, 1.0], [12.0, 10.0]]
    assert [r.tolist() for r in dfq.ranges(first, depthwise)] == [[6.0, 1.0], [8.0, 14.0]]


@settings(max_examples=60, deadline=None)
@given(positive, positive)
def test_the_scale_makes_two_ranges_equal(r1: float, r2: float) -> None:
    s = float(dfq.equalizing_scale(torch.tensor(r1), torch.tensor(r2)))
    assert s == pytest.approx(math.sqrt(r1 * r2) / r2, rel=1e-5)
    assert r1 / s == pytest.approx(r2 * s, rel=1e-4)


def test_a_channel_that_is_zero_on_a_side_keeps_its_scale() -> None:
    s = dfq.equalizing_scale(torch.tensor([0.0, 2.0, 0.0, 0.5]), torch.tensor([3.0, 0.0, 0.0, 2.0]))
    assert s.tolist() == [1.0, 1.0, 1.0, 0.5]


@pytest.mark.parametrize("i", [0, 1, 2])
def test_rescaling_leaves_the_function_and_scales_the_statistics(i: int) -> None:
    layers, x = chain(), random(3, 1, 8, 8, seed=9)
    s = random(len(layers[i].bias), seed=11).exp()
    first, second = dfq.rescale(layers[i], layers[i + 1], s)
    changed = [*layers[:i], first, second, *layers[i + 2 :]]
    torch.testing.assert_close(dfq.run(changed, x), dfq.run(layers, x))
    torch.testing.assert_close(first.beta * s, layers[i].beta)
    torch.testing.assert_close(first.gamma * s, layers[i].gamma)
    torch.testing.assert_close(first.weight * s.reshape(-1, 1, 1, 1), layers[i].weight)
    assert (first.groups, second.groups) == (layers[i].groups, layers[i + 1].groups)
    assert torch.equal(second.bias, layers[i + 1].bias)
    assert not torch.allclose(second.weight, layers[i + 1].weight)


def test_equalization_keeps_the_function_and_ends_with_equal_ranges() -> None:
    layers, x = chain(), random(3, 1, 8, 8, seed=9)
    equalized = dfq.equalize(layers, 1e-9)
    torch.testing.assert_close(dfq.run(equalized, x), dfq.run(layers, x))
    for i in range(3):
        before, after = dfq.ranges(layers[i], layers[i + 1]), dfq.ranges(equalized[i], equalized[i + 1])
        torch.testing.assert_close(after[0], after[1])
        assert not torch.allclose(*before)
    assert len(equalized) == 4
    assert layers[0].weight is not equalized[0].weight


def test_equalization_spreads_the_range_of_a_channel_over_all_its_layers() -> None:
    equalized = dfq.equalize([bare(torch.full((1, 1, 1, 1), w)) for w in (8.0, 1.0, -1.0)])
    torch.testing.assert_close(torch.cat([x.weight.abs().flatten() for x in equalized]), torch.full((3,), 2.0))


def test_equalization_stops_once_scales_are_within_the_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def slow(r1: Tensor, r2: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.full_like(r1 + r2, 1 + (-0.5) ** calls)  # off by 1/2, 1/4, 1/8, ... on either side of 1

    monkeypatch.setattr(dfq, "equalizing_scale", slow)
    dfq.equalize(chain()[:2], 0.125)
    assert calls == 3
    calls = 0
    dfq.equalize(chain()[:3], 0.1)  # two pairs a visit, and the larger of the two differences counts
    assert calls == 6


def test_absorption_keeps_the_function_where_pre_activations_exceed_c() -> None:
    bias, gamma = torch.tensor([50.0, 60.0, -1.0]).double(), torch.tensor([4.0, 5.0, 1.0]).double()
    first = Layer(random(3, 2, 1, 1), bias, bias, gamma)
    second, x = uneven(4, 3, 1), random(5, 2, 4, 4, seed=3)
    a, b = dfq.absorb([first, second])
    assert a.bias.tolist() == [12.0, 15.0, -1.0]  # c = beta - 3 gamma = 38, 45, and nothing
    assert a.beta.tolist() == [12.0, 15.0, -1.0]
    assert torch.equal(a.gamma, first.gamma)
    assert torch.equal(b.weight, second.weight)
    before = conv2d(relu(conv2d(x, first.weight, first.bias)), second.weight, second.bias)
    after = conv2d(relu(conv2d(x, a.weight, a.bias)), b.weight, b.bias)
    torch.testing.assert_close(after, before)
    assert (b.bias - second.bias).abs().min() > 0.1


def test_absorption_goes_through_all_layers_and_leaves_low_biases() -> None:
    low = [replace(layer, beta=2.9 * layer.gamma) for layer in chain()]
    for before, after in zip(low, dfq.absorb(low), strict=True):
        assert torch.equal(before.bias, after.bias)
    high = [replace(layer, beta=5 * layer.gamma) for layer in chain()]
    absorbed = dfq.absorb(high)
    for i in range(3):
        c = 2 * high[i].gamma
        torch.testing.assert_close(absorbed[i].beta, 3 * high[i].gamma)
        arrived = high[i].respond(2 * high[i - 1].gamma) if i else 0.0
        torch.testing.assert_close(absorbed[i].bias, high[i].bias + arrived - c)
    torch.testing.assert_close(absorbed[3].bias, high[3].bias + high[3].respond(2 * high[2].gamma))
    assert torch.equal(absorbed[3].beta, high[3].beta)


@settings(max_examples=40, deadline=None)
@given(st.floats(-4, 4), st.floats(0.05, 4), st.sampled_from(CLIPS))
def test_the_clipped_normal_mean_agrees_with_numerical_integration(
    beta: float, gamma: float, clip: tuple[float, float]
) -> None:
    z = np.linspace(-9, 9, 20001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    expected = np.trapezoid(np.clip(beta + gamma * z, *clip) * density, z)
    mean = dfq.clipped_normal_mean(torch.tensor(beta).double(), torch.tensor(gamma).double(), *clip)
    assert float(mean) == pytest.approx(expected, abs=1e-5)
    if clip == CLIPS[0]:
        assert torch.equal(dfq.clipped_normal_mean(torch.tensor(beta).double(), torch.tensor(gamma).double()), mean)


def test_relu_of_a_standard_normal_has_mean_one_over_the_root_of_two_pi() -> None:
    mean = dfq.clipped_normal_mean(torch.zeros(1), torch.ones(1))
    assert float(mean) == pytest.approx(1 / math.sqrt(2 * math.pi))


def test_a_weight_grid_covers_the_tensor_or_each_output_channel() -> None:
    weight = torch.tensor([[[[-1.0, 0.5]]], [[[0.0, 15.0]]]])
    tensor, channel = dfq.weight_grid(weight, 4), dfq.weight_grid(weight, 4, per_channel=True)
    assert tensor.scale.flatten().tolist() == pytest.approx([16 / 15])
    assert tensor.zero_point.flatten().tolist() == [1.0]
    assert channel.scale.flatten().tolist() == pytest.approx([0.1, 1.0])
    assert channel.scale.shape == (2, 1, 1, 1)
    assert (tensor.low, tensor.high) == (channel.low, channel.high) == (0, 15)


def test_an_activation_grid_ends_at_the_greatest_beta_plus_6_gamma() -> None:
    layer = Layer(torch.zeros(2, 1, 1, 1), torch.zeros(2), torch.tensor([1.0, -3.0]), torch.tensor([2.0, 3.0]))
    grid = dfq.activation_grid(layer, 8)
    assert float(grid.quantize(torch.tensor(100.0))) == pytest.approx(15.0)  # 18 - 3, above 12 + 1
    assert float(grid.quantize(torch.tensor(-5.0))) == 0.0
    assert float(grid.scale) == pytest.approx(15 / 255)
    dead = replace(layer, beta=torch.tensor([-100.0, -100.0]))
    assert float(dfq.activation_grid(dead, 8).quantize(torch.tensor(0.2))) == 0.0


def test_quantizing_rounds_each_weight_to_the_grid_of_its_tensor() -> None:
    layers = chain()
    for per_channel in (False, True):
        for before, after in zip(layers, dfq.quantize(layers, 3, per_channel=per_channel), strict=True):
            assert torch.equal(after.bias, before.bias)
            rows = before.weight.flatten(1) if per_channel else before.weight.reshape(1, -1)
            for row, rounded in zip(rows, after.weight.reshape(rows.shape), strict=True):
                low, high = min(float(row.min()), 0.0), max(float(row.max()), 0.0)
                step = (high - low) / 7
                zero = round(-low / step)
                expected = [(min(max(round(w / step) + zero, 0), 7) - zero) * step for w in row.tolist()]
                torch.testing.assert_close(rounded, torch.tensor(expected).double())
                assert len(torch.unique(rounded)) <= 8


def test_correction_recentres_the_output_which_rounding_alone_shifts() -> None:
    layers = [replace(layer, groups=layer.groups) for layer in chain()[:2]]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200_000, 6, generator=generator, dtype=torch.float64)
    x = relu(layers[0].beta + layers[0].gamma * noise)  # the input that the method assumes
    plain, corrected = dfq.quantize(layers, 4), dfq.quantize(layers, 4, correct=True)
    wanted = layers[1].respond(x.mean(dim=0)) + layers[1].bias
    shift = plain[1].respond(x.mean(dim=0)) + plain[1].bias - wanted
    rest = corrected[1].respond(x.mean(dim=0)) + corrected[1].bias - wanted
    assert shift.abs().max() > 0.1
    assert rest.abs().max() < 0.02 * shift.abs().max()
    assert torch.equal(corrected[1].weight, plain[1].weight)
    assert torch.equal(corrected[0].bias, layers[0].bias), "the first layer has no statistics before it"


def test_every_layer_but_the_first_is_corrected_by_the_closed_form() -> None:
    layers = chain()
    corrected = dfq.quantize(layers, 3, correct=True)
    for i in range(1, 4):
        expected = dfq.clipped_normal_mean(layers[i - 1].beta, layers[i - 1].gamma)
        error = replace(layers[i], weight=corrected[i].weight - layers[i].weight)
        torch.testing.assert_close(layers[i].bias - corrected[i].bias, error.respond(expected))
    assert len(corrected) == 4


def test_running_is_convolutions_relu_and_a_mean_before_the_head() -> None:
    layers, x = chain(), random(2, 1, 8, 8, seed=1)
    h = relu(conv2d(x, layers[0].weight, layers[0].bias))
    h = relu(conv2d(h, layers[1].weight, layers[1].bias, groups=6))
    h = relu(conv2d(h, layers[2].weight, layers[2].bias))
    expected = h.mean(dim=(2, 3)) @ layers[3].weight[:, :, 0, 0].T + layers[3].bias
    torch.testing.assert_close(dfq.run(layers, x), expected)
    assert dfq.run(layers, x).shape == (2, 10)


def test_running_quantizes_every_activation_when_asked() -> None:
    one = Layer(torch.ones(1, 1, 1, 1), torch.zeros(1), torch.zeros(1), torch.full((1,), 0.5))  # range [0, 3]
    x = torch.tensor([0.6, 1.6, 9.0]).reshape(3, 1, 1, 1)
    assert dfq.run([one, one], x, 2).flatten().tolist() == [1.0, 2.0, 3.0]
    assert dfq.run([one, one], x).flatten().tolist() == pytest.approx([0.6, 1.6, 9.0])
    half = replace(one, weight=torch.full((1, 1, 1, 1), 0.5))
    assert dfq.run([one, half, one], x, 2).flatten().tolist() == [0.0, 1.0, 2.0]  # 0.5, 1 and 1.5, halves to even


def test_precision_is_the_papers_and_the_closed_form_beats_random_scales() -> None:
    r1, r2 = torch.tensor([1.0, 4.0, 2.0]), torch.tensor([8.0, 1.0, 2.0])
    assert float(dfq.precision(r1, r2)) == pytest.approx(1 / 4 + 1 / 8 + 2 / 4 * 2 / 8)
    root = torch.sqrt(r1 * r2)
    best = float(dfq.precision(root, root))
    assert best == pytest.approx(1 + 0.5 + 0.5)
    found = dfq.searched_precision(r1, r2, torch.Generator().manual_seed(0))
    assert best - 0.2 < found <= best + 1e-6
    assert dfq.precision(torch.stack([r1, root]), torch.stack([r2, root])).tolist() == pytest.approx([0.5, 2.0])


def test_the_search_looks_far_and_near(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []

    def fake(r1: Tensor, r2: Tensor) -> Tensor:
        seen.extend([r1, r2])
        return torch.arange(float(len(r1)))

    monkeypatch.setattr(dfq, "precision", fake)
    r1, r2 = torch.tensor([4.0, 1.0]), torch.tensor([1.0, 9.0])
    assert dfq.searched_precision(r1, r2, torch.Generator().manual_seed(0), 500) == 999.0
    scales = r1 / seen[0]
    torch.testing.assert_close(seen[1], r2 * scales)
    spread = scales.log().reshape(2, 500, 2)
    torch.testing.assert_close(spread.mean(dim=1)[0], torch.zeros(2), atol=0.15, rtol=0)
    torch.testing.assert_close(spread.mean(dim=1)[1], torch.tensor([2.0, 1 / 3]).log(), atol=0.02, rtol=0)
    torch.testing.assert_close(spread.std(dim=1), torch.tensor([[1.0, 1.0], [0.1, 0.1]]), atol=0.15, rtol=0.15)
    assert dfq.searched_precision(r1, r2, torch.Generator().manual_seed(0), 500) == 999.0
    assert torch.equal(seen[0], seen[2]), "the same numbers from the same seed"
    assert dfq.searched_precision(r1, r2, torch.Generator()) == 7999.0


def test_the_network_is_depthwise_separable_and_its_channels_start_far_apart() -> None:
    torch.manual_seed(0)
    net = dfq.network()
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size[0], c.groups) for c in convs] == list(dfq.SHAPES)
    assert all(c.bias is None and c.padding == (0, 0) for c in convs)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    scales, shifts = torch.cat([n.weight for n in norms]), torch.cat([n.bias for n in norms])
    assert 0.01 <= scales.min() < 0.02
    assert 0.7 < scales.max() <= 1
    assert float(scales.detach().log10().mean()) == pytest.approx(-1, abs=0.25)
    assert 0 <= shifts.min() < 0.1
    assert 0.9 < shifts.max() <= 1
    assert [type(m) for m in list(net.children())[:3]] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_the_folded_network_computes_the_same_in_double_precision() -> None:
    torch.manual_seed(0)
    net = dfq.network()
    net(digits().train_x)  # gives batch norm statistics
    layers, x = dfq.folded(net.eval()), digits().test_x[:50]
    torch.testing.assert_close(dfq.run(layers, x.double()).float(), net(x), atol=1e-4, rtol=1e-4)
    assert [layer.groups for layer in layers] == [1, 8, 1, 16, 1, 1]
    tensors = [t for layer in layers for t in (layer.weight, layer.bias, layer.beta, layer.gamma)]
    assert all(t.dtype == torch.float64 and not t.requires_grad for t in tensors)
    assert torch.equal(layers[1].beta, net.state_dict()["4.bias"].double())


def test_reproduce_quantizes_each_variant_from_the_layers_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[object, int]] = []
    plain = [bare(torch.ones(1, 1, 1, 1))] * 2

    def fake_train(build: object, seed: int) -> nn.Module:
        trained.append((build, seed))
        return nn.Identity()

    def scaled(some: list[Layer], factor: float) -> list[Layer]:
        return [replace(layer, weight=layer.weight * factor) for layer in some]

    def fake_quantize(some: list[Layer], bits: int, *, per_channel: bool = False, correct: bool = False) -> list[Layer]:
        return scaled(some, 100 * bits + 10 * per_channel + correct)

    def fake_run(some: list[Layer], x: Tensor, bits: int | None = None) -> Tensor:
        hits = int(float(some[0].weight)) % 597 + (0 if bits is None else 1)  # so many right answers
        answers = (digits().test_y + 1) % 10
        answers[:hits] = digits().test_y[:hits]
        assert x.dtype == torch.float64
        return nn.functional.one_hot(answers, 10).double() * float(some[0].weight)

    monkeypatch.setattr(dfq, "train", fake_train)
    monkeypatch.setattr(dfq, "folded", lambda _net: plain)
    monkeypatch.setattr(dfq, "equalize", lambda some: scaled(some, 2.0))
    monkeypatch.setattr(dfq, "absorb", lambda some: scaled(some, 1.5))
    monkeypatch.setattr(dfq, "quantize", fake_quantize)
    monkeypatch.setattr(dfq, "run", fake_run)
    metrics = dfq.reproduce(11)
    assert trained == [(dfq.network, 11)]
    expected = {
        "full_precision": 1,
        "naive": 600 % 597 + 1,
        "naive_corrected": 601 % 597 + 1,
        "per_channel": 610 % 597 + 1,
        "equalized": 1200 % 597 + 1,
        "absorbed": 1800 % 597 + 1,
        "dfq": 1803 % 597 + 1,
        "naive_int8": 800 % 597 + 1,
        "dfq_int8": 2403 % 597 + 1,
    }
    for name, hits in expected.items():
        assert metrics[name] == pytest.approx(100 * hits / 597), name
    wrong = nn.functional.one_hot((digits().test_y + 1) % 10, 10).double()
    right = nn.functional.one_hot(digits().test_y, 10).double()

    def output(weight: float) -> Tensor:
        hits = int(weight) % 597
        return weight * torch.cat([right[:hits], wrong[hits:]])

    assert metrics["function_change"] == pytest.approx(float((output(2.0) - output(1.0)).abs().max()))
    assert metrics["shift_rounded"] == pytest.approx(float((output(1800.0) - output(3.0)).mean(dim=0).abs().mean()))
    assert metrics["shift_corrected"] == pytest.approx(float((output(1803.0) - output(3.0)).mean(dim=0).abs().mean()))
    assert metrics["range_mismatch"] == 0.0
    assert metrics["precision_equalized"] == pytest.approx(1.0)
    assert metrics["precision_searched"] == pytest.approx(1.0)
    assert len(metrics) == 15


def test_metrics_of_equalization_come_from_the_right_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = chain()
    monkeypatch.setattr(dfq, "train", lambda _build, _seed: nn.Identity())
    monkeypatch.setattr(dfq, "folded", lambda _net: layers)
    searched: list[Tensor] = []

    def fake_search(r1: Tensor, r2: Tensor, generator: torch.Generator) -> float:
        assert generator.initial_seed() == 0
        searched.extend([r1, r2])
        return 0.25

    monkeypatch.setattr(dfq, "searched_precision", fake_search)
    metrics = dfq.reproduce(0)
    r1, r2 = dfq.ranges(layers[0], layers[1])
    assert torch.equal(searched[0], r1)
    assert torch.equal(searched[1], r2)
    assert metrics["precision_searched"] == 0.25
    assert metrics["precision_equalized"] == pytest.approx(float((r1 * r2).sum() / (r1 * r2).max()))
    assert 0 < metrics["range_mismatch"] < 1e-5
    assert metrics["function_change"] < 1e-12
    monkeypatch.setattr(dfq, "equalize", list)
    ratios = [torch.div(*dfq.ranges(a, b)) for a, b in pairwise(layers)]
    mismatch = max(float((ratio - 1).abs().max()) for ratio in ratios)
    assert dfq.reproduce(0)["range_mismatch"] == pytest.approx(mismatch)


@pytest.mark.parametrize("bits", [1, 2, 3, 6, 8])
def test_offered_values_walk_all_levels_and_pass_no_gradient(bits: int) -> None:
    x = torch.linspace(-1.5, 1.0, 2001).requires_grad_()
    value = dfq.values_of(x, bits)
    integers, scale = dfq.integers_of(x.detach(), bits)
    assert torch.equal(value.detach(), scale * integers)
    assert len(torch.unique(integers)) == 2**bits
    assert float(scale) == pytest.approx(2.5 / (2**bits - 1))
    assert (value - x).abs().max() <= scale * 1.01
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert not gradient.any()
    assert torch.equal(value.detach(), dfq.weight_grid(x.detach(), bits).quantize(x.detach()))


def test_quantizers_on_offer() -> None:
    assert [(q.name, q.bits) for q in dfq.QUANTIZERS] == [("weights", 6), ("weights", 8)]
    x = random(1, 40).float()
    for quantizer in dfq.QUANTIZERS:
        integers, scale = quantizer.to_integers(x)
        assert torch.equal(quantizer.quantize(x), scale * integers)
        assert float(scale) == pytest.approx(float(x.max() - x.min()) / (2**quantizer.bits - 1))


def test_plain_rounding_loses_the_channels_that_equalization_keeps() -> None:
    even = [
        replace(layer, weight=layer.weight / layer.weight.abs().amax(dim=(1, 2, 3), keepdim=True)) for layer in chain()
    ]
    layers, x = list(even), random(20, 1, 8, 8, seed=9)
    for i in range(3):
        s = 10 ** random(len(layers[i].bias), seed=40 + i)
        layers[i], layers[i + 1] = dfq.rescale(layers[i], layers[i + 1], s)
    wanted = dfq.run(even, x)

    def error(some: list[Layer]) -> float:
        return float((dfq.run(dfq.quantize(some, 6), x) - wanted).norm() / wanted.norm())

    assert error(dfq.equalize(layers)) < 0.5 * error(layers)


@pytest.mark.slow
def test_seed_0_repeats_the_accepted_result() -> None:
    accepted = read(result_path(dfq.RECORD))
    for key, value in dfq.reproduce(0).items():
        assert value == pytest.approx(accepted.metrics[key][0], abs=3)
