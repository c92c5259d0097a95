from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import conv2d, hardtanh, unfold

from reference_impls.binary import competitive_bnn as cb
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import Split, digits
from reference_impls.kit.models import Block, SmallCNN, identity
from reference_impls.kit.quantizers import Quantizer, curve
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)
POINTS = [-3.0, -1.31, -1.3, -1.001, -1.0, -0.4, -0.0, 0.0, 0.25, 1.0, 1.001, 1.3]
UPSTREAM = torch.arange(1.0, len(POINTS) + 1)


def gradient(y: Tensor, x: Tensor, upstream: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(y, x, upstream)
    return result


@pytest.mark.parametrize("threshold", [1.0, 1.3])
def test_activations_are_signs_whose_gradient_is_cancelled_beyond_the_threshold(threshold: float) -> None:
    x = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
    y = cb.binarize(x, threshold)
    assert y.tolist() == [1 if v >= 0 else -1 for v in POINTS]  # rounding would give more levels
    expected = [g if abs(v) <= threshold else 0 for v, g in zip(POINTS, UPSTREAM.tolist(), strict=True)]
    assert gradient(y, x, UPSTREAM.double()).tolist() == expected
    if threshold == 1:
        assert gradient(cb.binarize(x), x, UPSTREAM.double()).tolist() == expected


def test_weights_are_signs_and_pass_the_gradient_whole_even_where_activations_cancel_it() -> None:
    w = torch.tensor(POINTS, requires_grad=True)
    y = cb.binarize_weight(w)
    assert y.tolist() == [1 if v >= 0 else -1 for v in POINTS]
    assert torch.equal(gradient(y, w, UPSTREAM), UPSTREAM)


@PROPERTY
@given(st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=30))
def test_signs_are_odd_but_at_zero_and_do_not_depend_on_scale(values: list[float]) -> None:
    x = torch.tensor(values)
    y = cb.binarize(x)
    assert set(y.tolist()) <= {-1.0, 1.0}
    assert torch.equal(cb.binarize(y), y)
    assert torch.equal(cb.binarize(7 * x), y)
    assert torch.equal(cb.binarize(-x)[x != 0], -y[x != 0])


def test_filter_scale_is_the_mean_magnitude_without_gradient() -> None:
    w = torch.randn(4, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    scale = cb.filter_scale(w)
    assert scale.shape == (4, 1, 1)
    assert not scale.requires_grad
    np.testing.assert_allclose(scale.flatten(), np.abs(w.detach().numpy()).reshape(4, -1).mean(axis=1), rtol=1e-12)


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (1, 1)])
def test_input_scale_is_the_mean_magnitude_under_each_window_without_gradient(size: int, stride: int) -> None:
    x = torch.randn(2, 5, 6, 4, dtype=torch.float64, requires_grad=True)
    scale = cb.input_scale(x, size, stride)
    assert not scale.requires_grad
    windows = unfold(x.detach().abs(), size, padding=size // 2, stride=stride)  # (N, 5 size size, places)
    np.testing.assert_allclose(scale.flatten(1), windows.mean(dim=1), rtol=1e-12)
    assert scale.shape == (2, 1, 6 // stride, 4 // stride)


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (1, 1)])
@pytest.mark.parametrize("scaled", [False, True])
def test_binary_convolution_is_one_of_signs_with_scales_if_asked(size: int, stride: int, scaled: bool) -> None:
    torch.manual_seed(1)
    conv = cb.BinaryConv2d((2, 3), size, stride, cb.Design(scaled=scaled))
    assert [name for name, _ in conv.named_parameters()] == ["weight"]
    x = torch.randn(4, 2, 6, 6)
    signs = [torch.where(part >= 0, 1.0, -1.0) for part in (x, conv.weight)]
    expected = conv2d(signs[0], signs[1], padding=size // 2, stride=stride)
    if scaled:
        alpha = conv.weight.detach().abs().mean(dim=(1, 2, 3)).reshape(1, 3, 1, 1)
        expected = expected * alpha * cb.input_scale(x, size, stride)
    torch.testing.assert_close(conv(x), expected, rtol=1e-6, atol=1e-6)
    assert conv(x).shape == (4, 3, 6 // stride, 6 // stride)


def test_scales_pass_no_gradient() -> None:
    torch.manual_seed(2)
    conv = cb.BinaryConv2d((2, 3), 3, 1, cb.Design(scaled=True))
    x = torch.randn(4, 2, 6, 6, requires_grad=True)
    factor = cb.filter_scale(conv.weight) * cb.input_scale(x, 3, 1)
    signs = [torch.where(part >= 0, 1.0, -1.0).requires_grad_() for part in (x, conv.weight)]
    upstream = torch.randn(4, 3, 6, 6)
    gx, gw = torch.autograd.grad(conv2d(signs[0], signs[1], padding=1), signs, upstream * factor)
    mx, mw = torch.autograd.grad(conv(x), (x, conv.weight), upstream)
    torch.testing.assert_close(mx, gx * (x.detach().abs() <= 1))
    torch.testing.assert_close(mw, gw)


def test_a_design_makes_its_convolutions() -> None:
    assert cb.Design() == cb.PAPER
    assert (cb.PAPER.activation, cb.PAPER.weight, cb.PAPER.scaled) == (cb.binarize, cb.binarize_weight, False)
    assert (cb.REAL.activation, cb.REAL.weight) == (hardtanh, identity)
    conv = cb.PAPER.conv(2, 5)
    assert isinstance(conv, cb.BinaryConv2d)
    assert (tuple(conv.weight.shape), conv.stride, conv.design) == ((5, 2, 3, 3), (1, 1), cb.PAPER)
    assert cb.PAPER.conv(2, 5, size=1, stride=2)(torch.zeros(1, 2, 4, 4)).shape == (1, 5, 2, 2)
    real = cb.PAPER.pointwise(2, 5)
    assert type(real) is nn.Conv2d
    assert tuple(real.weight.shape) == (5, 2, 1, 1)
    assert "bias" not in dict(real.named_parameters())
    binary = replace(cb.PAPER, real_shortcuts=False)
    pointwise = binary.pointwise(2, 5)
    assert isinstance(pointwise, cb.BinaryConv2d)
    assert (tuple(pointwise.weight.shape), pointwise.design) == ((5, 2, 1, 1), binary)


def test_the_two_layers_add_and_concatenate() -> None:
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(cb.Residual(nn.ReLU(), nn.Identity())(x), torch.relu(x) + x)
    assert torch.equal(cb.Concatenation(nn.ReLU())(x), torch.cat([x, torch.relu(x)], dim=1))


def binary_convs(part: nn.Module) -> list[cb.BinaryConv2d]:
    return [module for module in part.modules() if isinstance(module, cb.BinaryConv2d)]


def norm(part: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(part, nn.BatchNorm2d)
    return (x - x.mean(dim=(0, 2, 3), keepdim=True)) / (x.var(dim=(0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()


def sign_conv(conv: nn.Module, x: Tensor, stride: int = 1) -> Tensor:
    assert isinstance(conv, cb.BinaryConv2d)
    signs = [torch.where(part >= 0, 1.0, -1.0).double() for part in (x, conv.weight)]
    return conv2d(signs[0], signs[1], padding=conv.weight.shape[-1] // 2, stride=stride)


def shrink(part: nn.Module, x: Tensor) -> Tensor:
    pool, conv, batch_norm = part.children()
    assert isinstance(pool, nn.AvgPool2d)
    assert isinstance(conv, nn.Conv2d)
    halved = x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).mean(dim=(3, 5))
    return norm(batch_norm, conv2d(halved, conv.weight))


def test_residual_block_has_a_shortcut_around_every_convolution() -> None:
    torch.manual_seed(0)
    block = cb.residual_block(cb.PAPER)(3, 5).double()
    x = torch.randn(8, 3, 4, 6, dtype=torch.float64)
    first, second = block.children()
    conv, batch_norm = next(first.children()).children()
    y = norm(batch_norm, sign_conv(conv, x, stride=2)) + shrink(list(first.children())[1], x)
    conv, batch_norm = next(second.children()).children()
    z = norm(batch_norm, sign_conv(conv, y)) + y
    torch.testing.assert_close(block(x), z)
    assert z.shape == (8, 5, 2, 3)
    assert [tuple(conv.weight.shape) for conv in binary_convs(block)] == [(5, 3, 3, 3), (5, 5, 3, 3)]


def test_a_shortcut_may_go_around_both_convolutions() -> None:
    torch.manual_seed(0)
    block = cb.residual_block(replace(cb.PAPER, shortcut_layers=2))(3, 5).double()
    x = torch.randn(8, 3, 4, 6, dtype=torch.float64)
    (only,) = block.children()
    body, shortcut = only.children()
    a, b, c, d = body.children()
    y = norm(d, sign_conv(c, norm(b, sign_conv(a, x, stride=2)))) + shrink(shortcut, x)
    torch.testing.assert_close(block(x), y)


def test_residual_block_of_one_layer_and_with_a_binary_shortcut() -> None:
    single = cb.residual_block(replace(cb.PAPER, layers=1, real_shortcuts=False))(3, 5)
    assert [tuple(conv.weight.shape) for conv in binary_convs(single)] == [(5, 3, 3, 3), (5, 3, 1, 1)]
    assert single(torch.randn(2, 3, 4, 4)).shape == (2, 5, 2, 2)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_dense_block_hands_its_input_on_beside_what_it_makes(bottleneck: bool) -> None:
    torch.manual_seed(0)
    block = cb.dense_block(cb.PAPER, bottleneck=bottleneck)(3, 4).double()
    x = torch.randn(8, 3, 4, 6, dtype=torch.float64)
    first, second, batch_norm, relu, pointwise, pool, last = block.children()
    features = x
    for layer in (first, second):
        parts = list(next(layer.children()).children())
        assert len(parts) == (4 if bottleneck else 2)
        y = features
        for part in parts:
            y = norm(part, y) if isinstance(part, nn.BatchNorm2d) else sign_conv(part, y)
        features = torch.cat([features, y], dim=1)
    assert isinstance(relu, nn.ReLU)
    assert isinstance(pool, nn.AvgPool2d)
    assert isinstance(pointwise, nn.Conv2d)
    wide = conv2d(torch.relu(norm(batch_norm, features)), pointwise.weight)
    expected = norm(last, wide.reshape(8, 4, 2, 2, 3, 2).mean(dim=(3, 5)))
    torch.testing.assert_close(block(x), expected)
    shapes = [tuple(conv.weight.shape) for conv in binary_convs(block)]
    plain = [(4, 3, 3, 3), (4, 7, 3, 3)]
    squeezed = [(8, 3, 1, 1), (2, 8, 3, 3), (8, 5, 1, 1), (2, 8, 3, 3)]
    assert shapes == (squeezed if bottleneck else plain)
    assert pointwise.weight.shape[:2] == (4, 7 if bottleneck else 11)


def weights(block: Block) -> tuple[int, int]:
    network = SmallCNN(block)
    real = [m.weight.numel() for m in network.blocks.modules() if type(m) is nn.Conv2d]
    return sum(conv.weight.numel() for conv in binary_convs(network)), sum(real)


def test_the_networks_compared_have_as_many_binary_weights_as_the_docstring_says() -> None:
    counts = {name: weights(block) for name, block in cb.variants().items()}
    for name in ("resnet_e", "shortcut_a_block", "scaled", "unclipped_gradient"):
        assert counts[name] == (1152, 48)
    assert counts["binary_downsampling"] == (1200, 0)
    assert counts["densenet"] == (1188, 176)
    assert counts["densenet_bottleneck"] == (1148, 112)


def test_variants_differ_from_the_method_in_what_their_names_say() -> None:
    designs = {}
    for name, block in cb.variants().items():
        network = SmallCNN(block)
        (designs[name],) = {conv.design for conv in binary_convs(network)}
        dense = [part for part in network.modules() if isinstance(part, cb.Concatenation)]
        assert bool(dense) == name.startswith("densenet")
        sums = [part for part in network.modules() if isinstance(part, cb.Residual)]
        assert len(sums) == (0 if dense else 2 if name == "shortcut_a_block" else 4)
    assert designs == {
        "resnet_e": cb.PAPER,
        "shortcut_a_block": replace(cb.PAPER, shortcut_layers=2),
        "binary_downsampling": replace(cb.PAPER, real_shortcuts=False),
        "scaled": replace(cb.PAPER, scaled=True),
        "unclipped_gradient": replace(cb.PAPER, activation=cb.binarize_weight),
        "densenet": cb.PAPER,
        "densenet_bottleneck": cb.PAPER,
    }


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[int, int | None, int | None, cb.Design, int, Tensor, Tensor]] = []
    few = Split(*(part[:128] for part in vars(digits()).values()))

    def watched(build: object, seed: int, *, epochs: int | None = None, batch: int | None = None) -> nn.Module:
        with deterministic(seed):
            first = build()  # type: ignore[operator]
        (design,) = {conv.design for conv in binary_convs(first)}
        start = next(first.parameters()).detach().clone()
        network = train(build, seed, epochs=1, data=few)  # type: ignore[arg-type]
        assert isinstance(network, SmallCNN)
        end = next(network.parameters()).detach().clone()
        runs.append((seed, epochs, batch, design, len(binary_convs(first)), start, end))
        return network

    monkeypatch.setattr(cb, "train", watched)
    variants = cb.variants()
    monkeypatch.setattr(cb, "variants", lambda: {name: variants[name] for name in ("resnet_e", "densenet")})
    metrics = cb.reproduce(4)
    single = replace(cb.PAPER, layers=1)
    assert [run[:5] for run in runs] == [
        (4, 4, 128, cb.REAL, 4),
        (4, 8, 128, cb.PAPER, 4),
        (4, 8, 128, cb.PAPER, 4),
        (4, 4, 128, cb.PAPER, 4),
        (4, None, None, single, 2),
    ]
    real, scratch, _, pretrained, _ = runs
    assert torch.equal(pretrained[5], real[6])
    assert torch.equal(scratch[5], real[5])
    assert set(metrics) == {"resnet_e", "densenet", "pretrained", "cnn_accuracy"}
    assert all(0 < value <= 100 for value in metrics.values())
    named = {name for claim in cb.CLAIMS for name in (claim.metric, *_baseline(claim))}
    assert named == {*variants, "pretrained"}


def _baseline(claim: object) -> list[str]:
    named = claim.expected if isinstance(claim, Exact) else getattr(claim, "baseline", None)
    return [named] if isinstance(named, str) else []


@pytest.mark.parametrize("quantizer", cb.QUANTIZERS, ids=lambda q: q.name)
def test_quantizers_are_scale_times_integers_on_two_levels(quantizer: Quantizer) -> None:
    x = torch.randn(7, 5, 3)
    integers, scale = quantizer.to_integers(x)
    assert integers.dtype == torch.int64
    assert quantizer.to_integers(x.double())[1].dtype == torch.float64
    assert torch.equal(scale * integers, quantizer.quantize(x))
    drawn = curve(quantizer)
    assert (drawn.bits, set(drawn.y)) == (1, {-1.0, 1.0})
    assert (0.0 in drawn.gradient) == (quantizer.name == "activations")
    assert [q.name for q in cb.QUANTIZERS] == ["weights", "activations"]


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(cb.RECORD))
    with deterministic(0):
        metrics = cb.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
