from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.binary import xnor_net
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import QuantConv2d, SmallCNN, identity
from reference_impls.kit.packing import pack_signs, xnor_dot
from reference_impls.kit.quantizers import Quantizer, curve
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)
FILTERS = st.lists(st.floats(-4, 4, width=32), min_size=9, max_size=9)


def weights(seed: int = 0, shape: tuple[int, ...] = (3, 2, 3, 3)) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_scale_is_the_mean_magnitude_of_each_filter() -> None:
    w = weights()
    scale = xnor_net.filter_scale(w)
    assert scale.shape == (3, 1, 1, 1)
    np.testing.assert_allclose(scale.flatten(), [np.abs(row).mean() for row in w.numpy()], rtol=1e-6)
    assert xnor_net.filter_scale(torch.tensor([[1.0, -3.0]])).tolist() == [[2.0]]


def test_weight_value_differs_from_plain_signs_and_from_rounding() -> None:
    w = torch.tensor([[0.4, -0.2, 0.0], [-3.0, 1.5, -0.0]])
    assert torch.allclose(
        xnor_net.binarize_weight(w), torch.tensor([[0.2, -0.2, 0.2], [-1.5, 1.5, 1.5]]), rtol=1e-6, atol=0
    )


def test_weight_gradient_is_one_over_n_plus_the_scale_inside_and_one_over_n_outside() -> None:
    w = torch.tensor([[0.4, -1.0, 1.001, 2.0], [0.1, 0.1, -0.1, 0.1]], requires_grad=True)
    upstream = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    (gradient,) = torch.autograd.grad(xnor_net.binarize_weight(w), w, upstream)
    alpha = (0.4 + 1.0 + 1.001 + 2.0) / 4
    slope = [[0.25 + alpha, 0.25 + alpha, 0.25, 0.25], [0.35] * 4]
    assert torch.allclose(gradient, upstream * torch.tensor(slope), rtol=1e-6)


def test_one_over_n_is_the_true_derivative_of_the_scale() -> None:
    w = weights(1, (1, 5)).double().requires_grad_()
    scale = xnor_net.filter_scale(w)
    (derivative,) = torch.autograd.grad(scale, w)
    assert torch.allclose(derivative * torch.sign(w), torch.full((1, 5), 1 / 5, dtype=torch.float64))


@PROPERTY
@given(FILTERS)
def test_no_signs_and_scale_come_closer_than_the_closed_form(values: list[float]) -> None:
    w = torch.tensor(values)
    closed, searched = xnor_net.closed_form_error(w), xnor_net.brute_force_error(w, steps=60)
    assert closed <= searched + 1e-4


def test_brute_force_finds_the_optimum_and_only_it() -> None:
    w = torch.tensor([1.0, -2.0, 0.5])
    table = [
        float(((w - alpha * torch.tensor(signs)) ** 2).sum())
        for signs in itertools.product((-1.0, 1.0), repeat=3)
        for alpha in (0.0, 0.4, 0.8, 1.2, 1.6, 2.0)
    ]
    assert xnor_net.brute_force_error(w, steps=5) == pytest.approx(min(table))
    assert xnor_net.closed_form_error(w) == pytest.approx(5.25 - 3.5**2 / 3)
    assert xnor_net.brute_force_error(w) == pytest.approx(5.25 - 3.5**2 / 3, abs=1e-5)
    evenly = torch.full((4,), -0.7)
    assert xnor_net.closed_form_error(evenly) == pytest.approx(0, abs=1e-12)
    assert xnor_net.brute_force_error(evenly) == pytest.approx(0, abs=1e-6)


def test_a_scale_off_by_two_percent_would_fail_the_claim() -> None:
    (claim,) = [c for c in xnor_net.CLAIMS if c.id == "scale-is-optimal"]
    assert isinstance(claim, Exact)
    w = weights(2, (9,)) * 0.2
    off = float((w - 1.02 * w.abs().mean() * torch.sign(w)).square().sum())
    assert off > xnor_net.brute_force_error(w) + claim.tolerance


@PROPERTY
@given(FILTERS, st.floats(0.01, 100))
def test_binarization_is_scale_equivariant_and_idempotent(values: list[float], factor: float) -> None:
    w = torch.tensor([values])
    once = xnor_net.binarize_weight(w)
    assert torch.allclose(xnor_net.binarize_weight(factor * w), factor * once, rtol=1e-4)
    assert torch.allclose(xnor_net.binarize_weight(once), once, rtol=1e-5)


def test_unscaled_signs_pass_the_gradient_whole() -> None:
    w = torch.tensor([0.4, -5.0, 0.0], requires_grad=True)
    y = xnor_net.signs_only(w)
    (gradient,) = torch.autograd.grad(y, w, torch.tensor([1.0, 2.0, 3.0]))
    assert y.tolist() == [1, -1, 1]
    assert gradient.tolist() == [1, 2, 3]


def test_activation_gradient_saturates_unlike_the_identity() -> None:
    x = torch.tensor([-1.5, -1.0, -0.2, 0.0, 1.0, 1.1], requires_grad=True)
    y = xnor_net.binarize_activation(x)
    (gradient,) = torch.autograd.grad(y, x, torch.arange(1.0, 7.0))
    assert y.tolist() == [-1, -1, -1, 1, 1, 1]
    assert gradient.tolist() == [0, 2, 3, 4, 5, 0]


@pytest.mark.parametrize("size", [1, 3, 5])
def test_input_scale_is_the_mean_magnitude_under_each_window(size: int) -> None:
    x = weights(3, (2, 3, 5, 4)).double()
    padded = np.pad(np.abs(x.numpy()), ((0, 0), (0, 0), (size // 2,) * 2, (size // 2,) * 2))
    expected = [
        [[padded[n, :, i : i + size, j : j + size].mean() for j in range(4)] for i in range(5)] for n in range(2)
    ]
    scale = xnor_net.input_scale(x, size)
    assert scale.shape == (2, 1, 5, 4)
    np.testing.assert_allclose(scale[:, 0], expected, rtol=1e-12)
    if size == 3:
        assert torch.equal(xnor_net.input_scale(x), scale)
        np.testing.assert_allclose(xnor_net.window_scales(x)[:, 0], expected, rtol=1e-12)
        assert xnor_net.window_scales(x).shape == (2, 1, 5, 4)


def test_xnor_convolution_is_popcount_times_both_scales() -> None:
    x = weights(4, (2, 4, 6, 6))
    conv = xnor_net.XnorConv2d(4, 3, xnor_net.binarize_weight, scaled=True)
    w = conv.weight.detach()
    patches = F.unfold(torch.where(x >= 0, 1.0, -1.0), 3).transpose(1, 2)  # (2, 16, 36): inner windows only
    dots = xnor_dot(pack_signs(patches.flatten(0, 1).numpy()), pack_signs(torch.sign(w).flatten(1).numpy()), 36)
    expected = torch.tensor(dots, dtype=torch.float32).reshape(2, 4, 4, 3).permute(0, 3, 1, 2)  # (2, 3, 4, 4)
    expected = expected * w.abs().mean(dim=(1, 2, 3)).reshape(3, 1, 1)
    inner = slice(1, -1)
    unscaled = xnor_net.XnorConv2d(4, 3, xnor_net.binarize_weight, scaled=False)
    unscaled.load_state_dict(conv.state_dict())
    assert torch.allclose(unscaled(x)[..., inner, inner], expected, rtol=1e-5, atol=1e-6)
    beta = xnor_net.window_scales(x)[..., inner, inner]
    assert torch.allclose(conv(x)[..., inner, inner], expected * beta, rtol=1e-5, atol=1e-6)
    assert conv(x).shape == (2, 3, 6, 6)


def test_gradient_flows_through_the_input_scale_too() -> None:
    x = (3 + weights(5, (1, 1, 3, 3)).abs()).requires_grad_()  # every sign is saturated: only K can carry it
    xnor_net.XnorConv2d(1, 1, xnor_net.binarize_weight, scaled=True)(x).sum().backward()
    assert x.grad is not None
    assert bool((x.grad != 0).any())


def test_learned_scale_starts_at_one_multiplies_each_filter_and_is_trained() -> None:
    layer = xnor_net.LearnedScaleConv2d(2, 3)
    x = weights(6, (1, 2, 4, 4))
    plain = F.conv2d(x, torch.sign(layer.weight.detach()), padding=1)
    assert torch.equal(layer(x), plain)
    assert layer.scale.shape == (3, 1, 1)
    layer.scale.data = torch.tensor([1.0, 2.0, -3.0]).reshape(3, 1, 1)
    assert torch.allclose(layer(x), plain * torch.tensor([1.0, 2.0, -3.0]).reshape(1, 3, 1, 1))
    layer(x).sum().backward()
    assert layer.scale.grad is not None
    assert torch.allclose(layer.scale.grad.flatten(), plain.sum(dim=(0, 2, 3)), atol=1e-4)


def kinds(block: nn.Module) -> list[str]:
    return [type(part).__name__ for part in block.children()]


def test_block_orders_and_shapes() -> None:
    assert kinds(xnor_net.xnor_block()(2, 3)) == ["XnorConv2d", "MaxPool2d", "BatchNorm2d"]
    typical = xnor_net.xnor_block(typical=True)(2, 3)
    assert kinds(typical) == ["XnorConv2d", "BatchNorm2d", "BinaryActivation", "MaxPool2d"]
    learned = xnor_net.learned_scale_block(2, 3)
    assert kinds(learned) == ["ReLU", "LearnedScaleConv2d", "MaxPool2d", "BatchNorm2d"]
    for block in (xnor_net.xnor_block()(2, 3), typical, learned):
        assert block(torch.randn(5, 2, 8, 8)).shape == (5, 3, 4, 4)
    assert set(typical(torch.randn(5, 2, 8, 8)).detach().flatten().tolist()) == {-1.0, 1.0}


def test_variants_get_their_own_quantizer_and_scales() -> None:
    blocks = {name: make(4, 8) for name, make in xnor_net.variants().items()}
    convs = {name: next(m for m in block.modules() if isinstance(m, QuantConv2d)) for name, block in blocks.items()}
    scaled = {name: conv.scaled for name, conv in convs.items() if isinstance(conv, xnor_net.XnorConv2d)}
    assert scaled == {"xnor_net": True, "without_input_scale": False, "bnn": False, "typical_order": True}
    quantizer = {name: conv.quantizer for name, conv in convs.items()}
    assert quantizer == {
        "xnor_net": xnor_net.binarize_weight,
        "without_input_scale": xnor_net.binarize_weight,
        "bnn": xnor_net.signs_only,
        "typical_order": xnor_net.binarize_weight,
        "bwn": xnor_net.binarize_weight,
        "binaryconnect": xnor_net.signs_only,
        "learned_scale": xnor_net.signs_only,
        "full_precision": identity,
    }
    assert "BinaryActivation" in kinds(blocks["typical_order"])
    assert all("BinaryActivation" not in kinds(block) for name, block in blocks.items() if name != "typical_order")
    assert [name for name, block in blocks.items() if "ReLU" in kinds(block)] == [
        "bwn",
        "binaryconnect",
        "learned_scale",
        "full_precision",
    ]
    assert (convs["xnor_net"].in_channels, convs["xnor_net"].out_channels) == (4, 8)


def test_speedup_of_the_papers_example_and_its_limits() -> None:
    assert xnor_net.speedup(256, 9) == pytest.approx(62.27, abs=0.005)
    assert xnor_net.speedup(64, 1) == 32
    assert xnor_net.speedup(3, 1) < 3
    assert 63.9 < xnor_net.speedup(4096, 25) < 64


def test_memory_counts_signs_and_one_scale_a_filter() -> None:
    assert xnor_net.memory_saving(torch.randn(2, 4, 2, 2)) == 4 * 32 / (2 * 2 + 2 * 4)
    assert xnor_net.memory_saving(torch.randn(8, 256, 3, 3)) == pytest.approx(31.56, abs=0.01)


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(xnor_net, "EPOCHS", 1)

    def untrained(build: type[SmallCNN], seed: int, *, epochs: int) -> nn.Module:
        seen.append((seed, epochs))
        with deterministic(seed):
            network = build()  # type: ignore[call-arg]
            network(digits().train_x)  # sets the running statistics
        return network.eval()

    monkeypatch.setattr(xnor_net, "train", untrained)
    with deterministic(7):
        metrics = xnor_net.reproduce(7)
    assert seen == [(7, 1)] * 8
    others = [claim.expected if isinstance(claim, Exact) else claim.baseline for claim in xnor_net.CLAIMS]
    named = {claim.metric for claim in xnor_net.CLAIMS} | {name for name in others if isinstance(name, str)}
    assert named <= set(metrics)
    assert set(xnor_net.variants()) <= set(metrics)
    assert metrics["cnn_accuracy"] == metrics["xnor_net"]
    assert metrics["cnn_full_precision"] == metrics["full_precision"]
    with deterministic(7):
        network = SmallCNN(xnor_net.xnor_block())
    kernels = network.blocks[0][0].weight.detach().reshape(16, 9)  # type: ignore[index]
    assert metrics["closed_form_error"] == pytest.approx(sum(map(xnor_net.closed_form_error, kernels)))
    assert metrics["brute_force_error"] == pytest.approx(sum(map(xnor_net.brute_force_error, kernels)))
    assert metrics["closed_form_error"] <= metrics["brute_force_error"] + 1e-5
    assert 0 <= metrics["input_scale_gap"] < 1e-5
    assert metrics["theoretical_speedup"] == pytest.approx(62.27, abs=0.005)
    assert metrics["memory_saving"] == pytest.approx(31.56, abs=0.01)
    assert all(0 < metrics[name] <= 100 for name in xnor_net.variants())


def test_the_input_scale_gap_sees_a_wrong_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xnor_net, "train", lambda build, *_, **__: build().eval())
    right = xnor_net.input_scale
    monkeypatch.setattr(xnor_net, "input_scale", lambda x: 1.5 * right(x))
    assert xnor_net.reproduce(0)["input_scale_gap"] == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("quantizer", xnor_net.QUANTIZERS, ids=lambda q: q.name)
def test_quantizers_are_scale_times_integers_on_two_levels(quantizer: Quantizer) -> None:
    x = weights(8, (7, 5, 3))
    integers, scale = quantizer.to_integers(x)
    assert integers.dtype == torch.int64
    assert torch.equal(scale * integers, quantizer.quantize(x))
    drawn = curve(quantizer)
    level = 0.75 if quantizer.name == "weights" else 1.0
    assert drawn.bits == 1
    assert sorted(set(drawn.y)) == pytest.approx([-level, level], rel=1e-2)
    outside = 1 / 241 if quantizer.name == "weights" else 0.0
    assert min(drawn.gradient) == pytest.approx(outside, abs=1e-6)


def test_double_precision_is_kept() -> None:
    x = weights(9).double().requires_grad_()
    for quantizer in xnor_net.QUANTIZERS:
        assert quantizer.quantize(x).dtype == quantizer.to_integers(x)[1].dtype == torch.float64
    assert xnor_net.weight_slope(x).dtype == xnor_net.input_scale(x).dtype == torch.float64


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(xnor_net.RECORD))
    with deterministic(0):
        metrics = xnor_net.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
