from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.binary import bnn_plus as bp
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import QuantConv2d, SmallCNN, identity
from reference_impls.kit.quantizers import curve
from reference_impls.kit.results import read
from reference_impls.kit.train import accuracy, deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)
POINTS = [-3.0, -1.0, -0.75, -0.4, -0.0, 0.0, 0.25, 0.4, 1.0, 2.5]
UPSTREAM = torch.arange(1.0, len(POINTS) + 1)


def gradient(y: Tensor, x: Tensor, upstream: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(y, x, upstream)
    return result


def oracle(x: float, beta: float) -> float:
    s = 1 / (1 + math.exp(-beta * x))
    return 2 * s * (1 + beta * x * (1 - s)) - 1


@pytest.mark.parametrize("beta", [1.0, 5.0, 10.0])
def test_surrogate_is_the_published_formula_and_its_slope_the_derivative(beta: float) -> None:
    x = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
    y = bp.sign_swish(x, beta)
    np.testing.assert_allclose(y.detach(), [oracle(v, beta) for v in POINTS], rtol=1e-12, atol=1e-14)
    assert torch.allclose(bp.sign_swish_slope(x.detach(), beta), gradient(y, x, torch.ones_like(y)), atol=1e-12)
    assert float(bp.sign_swish_slope(torch.zeros(1), beta)) == beta
    assert bp.slope_error(beta) < 1e-6


def test_beta_is_five_when_not_given() -> None:
    x = torch.tensor(POINTS)
    assert torch.equal(bp.sign_swish(x), bp.sign_swish(x, 5.0))
    assert torch.equal(bp.sign_swish_slope(x), bp.sign_swish_slope(x, 5.0))


def test_slope_turns_negative_near_the_published_point_and_stays_finite_far_out() -> None:
    z = torch.tensor([2.39, 2.41], dtype=torch.float64) / 5
    assert (bp.sign_swish_slope(z) > 0).tolist() == [True, False]
    assert torch.isfinite(bp.sign_swish_slope(torch.tensor([-500.0, 500.0]))).all()


def test_slope_error_finds_a_wrong_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bp, "sign_swish_slope", lambda x, beta: (x.abs() <= 1 / beta).double() * beta)
    assert bp.slope_error(5.0) > 1
    monkeypatch.setattr(bp, "sign_swish_slope", lambda x, _beta: torch.zeros_like(x))
    assert bp.slope_error(5.0) == pytest.approx(5, rel=1e-6)  # the greatest slope is that at 0


def test_activations_are_signs_with_the_slope_of_sign_swish_which_a_plain_straight_through_sign_has_not() -> None:
    x = torch.tensor(POINTS, requires_grad=True)
    y = bp.binarize(x)
    assert y.tolist() == [1 if v >= 0 else -1 for v in POINTS]
    h = 1e-5
    numeric = [(oracle(v + h, 5) - oracle(v - h, 5)) / (2 * h) for v in POINTS]
    result = gradient(y, x, UPSTREAM)
    assert torch.allclose(result, UPSTREAM * torch.tensor(numeric), atol=1e-3)
    assert float(result[2]) < 0 < float(result[6])  # beyond 2.4 / beta it is negative; a box would be positive


def test_the_ablated_gradient_is_a_box_and_that_of_weights_is_whole() -> None:
    x = torch.tensor(POINTS, requires_grad=True)
    assert torch.equal(bp.binarize_clipped(x), bp.binarize(x))
    assert gradient(bp.binarize_clipped(x), x, UPSTREAM).tolist() == [0, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    near = torch.tensor([-1.01, 1.01], requires_grad=True)
    assert gradient(bp.binarize_clipped(near), near, torch.ones(2)).tolist() == [0, 0]
    assert torch.equal(bp.binarize_weight(x), bp.binarize(x))
    assert torch.equal(gradient(bp.binarize_weight(x), x, UPSTREAM), UPSTREAM)


def filters(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_regularizers_are_sums_of_distances_to_the_scale_of_the_filter() -> None:
    w = filters(4, 3, 3, 3)
    alpha = torch.tensor([0.5, 1.0, 0.1, 2.0]).reshape(4, 1, 1, 1)
    distance = np.abs(np.abs(w.numpy()) - np.array([0.5, 1.0, 0.1, 2.0], dtype=np.float32).reshape(4, 1, 1, 1))
    assert float(bp.manhattan(w, alpha)) == pytest.approx(float(distance.sum()), rel=1e-5)
    assert float(bp.euclidean(w, alpha)) == pytest.approx(float((distance**2).sum()), rel=1e-5)


def test_regularizers_pull_weights_to_plus_and_minus_scale_and_scale_to_the_weights() -> None:
    w = torch.tensor([[-0.9, -0.2, 0.1, 0.7]], requires_grad=True)
    alpha = torch.tensor([[0.4]], requires_grad=True)
    by_w, by_alpha = torch.autograd.grad(bp.manhattan(w, alpha), (w, alpha))
    assert by_w.tolist() == [[-1, 1, -1, 1]]
    assert by_alpha.tolist() == [[0]]
    by_w, by_alpha = torch.autograd.grad(bp.euclidean(w, alpha), (w, alpha))
    assert torch.allclose(by_w, torch.tensor([[-1.0, 0.4, -0.6, 0.6]]))
    assert float(by_alpha) == pytest.approx(2 * (4 * 0.4 - 1.9), rel=1e-5)


@PROPERTY
@given(st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=15), st.floats(0.0, 4, width=32))
def test_median_and_mean_are_the_least_points_of_the_regularizers(values: list[float], other: float) -> None:
    w = torch.tensor([values, values[::-1]], dtype=torch.float64)
    elsewhere = torch.full((2, 1), other, dtype=torch.float64)
    assert float(bp.manhattan(w, bp.median_scale(w))) <= float(bp.manhattan(w, elsewhere)) + 1e-9
    assert float(bp.euclidean(w, bp.mean_scale(w))) <= float(bp.euclidean(w, elsewhere)) + 1e-9
    signs = bp.binarize(w)
    assert set(signs.flatten().tolist()) <= {-1.0, 1.0}
    assert torch.equal(bp.binarize(signs), signs)
    assert torch.equal(bp.binarize_weight(3 * w), signs)


def test_scales_are_those_of_each_filter_and_carry_no_gradient() -> None:
    w = filters(4, 3, 3, 3).requires_grad_()
    rows = np.abs(w.detach().numpy()).reshape(4, -1)
    np.testing.assert_allclose(bp.median_scale(w).flatten(), np.median(rows, axis=1), rtol=1e-6)  # 27 weights: odd
    np.testing.assert_allclose(bp.mean_scale(w).flatten(), rows.mean(axis=1), rtol=1e-6)
    for scale in (bp.median_scale(w), bp.mean_scale(w)):
        assert scale.shape == (4, 1, 1, 1)
        assert not scale.requires_grad
    assert bp.mean_scale(torch.zeros(5, 2)).shape == (5, 1)


def conv(start: bp.Rule | None) -> bp.Scaled:
    return bp.Scaled(QuantConv2d(2, 3, bp.binarize_weight), bp.binarize, start)


def test_the_layer_multiplies_signs_by_its_scale_in_value_and_gradient() -> None:
    torch.manual_seed(0)
    layer = conv(bp.mean_scale)
    weight = layer.product.weight
    assert torch.equal(layer.alpha, bp.mean_scale(weight))
    layer.alpha.data = torch.tensor([0.5, 2.0, 3.0]).reshape(3, 1, 1, 1)
    x = filters(4, 2, 6, 6)
    signs = torch.where(weight >= 0, 1.0, -1.0)
    seen = torch.where(x >= 0, 1.0, -1.0)
    y = layer(x)
    assert torch.allclose(y, nn.functional.conv2d(seen, layer.alpha * signs, padding=1))
    by_alpha, by_weight = torch.autograd.grad(y.sum(), (layer.alpha, weight))
    plain = nn.functional.conv2d(seen, signs, padding=1)
    assert torch.allclose(by_alpha.flatten(), plain.sum(dim=(0, 2, 3)))
    assert torch.allclose(by_weight[1], 4 * by_weight[0])
    assert dict(layer.named_parameters()).keys() == {"product.weight", "alpha"}


def test_without_a_start_the_scale_stays_one() -> None:
    layer = conv(None)
    assert torch.equal(layer.alpha, torch.ones(3, 1, 1, 1))
    assert not layer.alpha.requires_grad
    assert conv(bp.median_scale).alpha.requires_grad


def test_mlp_equals_its_layers_written_out() -> None:
    with deterministic(2):
        network = bp.mlp()
        network(digits().train_x[:64])
        network.eval()
        norms = [part for part in network if isinstance(part, nn.BatchNorm1d)]
        x = digits().test_x[:9]
        h = x.reshape(9, 64)
        for index, (layer, norm) in enumerate(zip(bp.scaled_layers(network), norms, strict=True)):
            w = layer.product.weight
            scaled = bp.median_scale(w) * torch.where(w >= 0, 1.0, -1.0)
            h = norm((torch.where(h >= 0, 1.0, -1.0) if index else h) @ scaled.T)
        assert torch.allclose(network(x), h, atol=1e-5)
    shapes = [tuple(layer.product.weight.shape) for layer in bp.scaled_layers(network)]
    assert shapes == [(32, 64), (32, 32), (32, 32), (10, 32)]


def test_block_is_sign_convolution_scale_pool_and_batch_norm() -> None:
    torch.manual_seed(0)
    block = bp.block(2, 4).eval()
    (layer,) = bp.scaled_layers(block)
    w = layer.product.weight
    x = filters(5, 2, 8, 8)
    scaled = w.abs().flatten(1).median(dim=1).values.reshape(-1, 1, 1, 1) * torch.where(w >= 0, 1.0, -1.0)
    product = nn.functional.conv2d(torch.where(x >= 0, 1.0, -1.0), scaled, padding=1)
    expected = nn.functional.max_pool2d(product, 2) / math.sqrt(1 + 1e-5)
    assert torch.allclose(block(x), expected, atol=1e-5)
    assert isinstance(block[-1], nn.BatchNorm2d)
    assert block[-1].num_features == 4


def test_penalty_is_strength_times_the_sum_over_layers() -> None:
    network = bp.mlp()
    for layer in bp.scaled_layers(network):
        layer.alpha.data.fill_(0.1)
    weights = torch.cat([layer.product.weight.detach().flatten() for layer in bp.scaled_layers(network)])
    distance = weights.abs() - 0.1
    assert bp.penalty(bp.manhattan, network).item() == pytest.approx(4.5e-6 * float(distance.abs().sum()), rel=1e-4)
    by_two = bp.penalty(bp.euclidean, network, strength=2.0).item()
    assert by_two == pytest.approx(2 * float(distance.square().sum()), rel=1e-4)
    assert weights.numel() == 64 * 32 + 2 * 32 * 32 + 32 * 10


def test_weights_stay_within_one_and_scales_above_zero() -> None:
    network = bp.mlp()
    first = bp.scaled_layers(network)[0]
    first.product.weight.data[0, :3] = torch.tensor([-3.0, 0.5, 1.5])
    first.alpha.data[:2] = torch.tensor([-1.0, 7.0]).reshape(2, 1)
    bp.keep_in_range(network, 1, 2)
    assert first.product.weight[0, :3].tolist() == [-1.0, 0.5, 1.0]
    assert first.alpha[:2].flatten().tolist() == pytest.approx([1e-3, 7.0])


def test_spread_is_the_mean_distance_of_magnitudes_in_percent_of_their_filters_mean() -> None:
    network = nn.Sequential(bp.block(4, 4), bp.block(4, 8))
    first, second = (layer.product.weight for layer in bp.scaled_layers(network))
    first.data = torch.where(filters(4, 4, 3, 3) >= 0, 0.3, -0.3)
    second.data.fill_(0.5)
    assert bp.weight_spread(network) == pytest.approx(0, abs=1e-4)
    first.data[:, :2] = 0.1  # magnitudes 0.1 and 0.3: half the mean of 0.2 away
    assert bp.weight_spread(network) == pytest.approx(50 * 144 / (144 + 288), rel=1e-4)


def test_the_regularizer_gathers_weights_which_training_without_it_does_not() -> None:
    def pulled(network: nn.Module) -> Tensor:
        return bp.penalty(bp.euclidean, network, 0.02)

    with_it = train(bp.mlp, 0, epochs=1, penalty=pulled, after_step=bp.keep_in_range)
    without = train(bp.mlp, 0, epochs=1, after_step=bp.keep_in_range)
    assert bp.weight_spread(with_it) < bp.weight_spread(without) - 5


def test_gaps_are_areas() -> None:
    assert bp.gap_to_sign(lambda x: x.clamp(-1, 1)) == pytest.approx(1, abs=1e-9)
    assert bp.gap_to_sign(torch.zeros_like) == pytest.approx(2, abs=1e-9)
    x = np.linspace(-1, 1, 20_001)
    values = np.abs(np.array([oracle(v, 5) for v in x]) - np.sign(x))
    assert bp.gap_to_sign(bp.sign_swish) == pytest.approx(2 * float(values.mean()), abs=1e-3)


def test_variants_differ_from_the_method_in_what_their_names_say() -> None:
    expected: dict[str, tuple[bp.Rule, bp.Rule | None, Callable[[nn.Module], Tensor] | None]] = {
        "manhattan": (bp.binarize, bp.median_scale, partial(bp.penalty, bp.manhattan)),
        "euclidean": (bp.binarize, bp.mean_scale, partial(bp.penalty, bp.euclidean)),
        "manhattan_strong": (bp.binarize, bp.median_scale, partial(bp.penalty, bp.manhattan, strength=4.5e-4)),
        "without_regularizer": (bp.binarize, bp.median_scale, None),
        "fixed_scale": (bp.binarize, None, partial(bp.penalty, bp.manhattan)),
        "clipped_gradient": (bp.binarize_clipped, bp.median_scale, partial(bp.penalty, bp.manhattan)),
        "bnn": (bp.binarize_clipped, None, None),
    }
    how = bp.variants()
    assert how.keys() == expected.keys() | {"cnn_accuracy", "smaller_beta"}
    other = how.pop("smaller_beta")
    (function,) = {layer.activation for layer in bp.scaled_layers(other["build"]())} - {identity}
    x = torch.tensor(POINTS, requires_grad=True)
    slope = gradient(function(x), x, torch.ones_like(x))
    assert torch.allclose(slope, bp.sign_swish_slope(x.detach(), 2.0))
    assert {**other, "build": bp.mlp} == how["manhattan"]
    expected["cnn_accuracy"] = expected["manhattan"]
    for name, recipe in how.items():
        activation, start, regularizer = expected[name]
        assert recipe["after_step"] is bp.keep_in_range
        assert set(recipe) == {"build", "after_step"} | ({"penalty"} if regularizer else set())
        network = recipe["build"]()
        assert isinstance(network, SmallCNN) == (name == "cnn_accuracy")
        layers = bp.scaled_layers(network)
        assert {layer.activation for layer in layers} == {activation} | (set() if len(layers) == 2 else {identity})
        for layer in layers:
            assert layer.product.quantizer is bp.binarize_weight
            assert layer.alpha.requires_grad == (start is not None)
            weight = layer.product.weight
            assert torch.equal(layer.alpha, start(weight) if start else torch.ones_like(layer.alpha))
            layer.alpha.data *= 1.7
        if regularizer:
            assert torch.equal(recipe["penalty"](network), regularizer(network))


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[nn.Module, dict[str, object]]] = []

    def watched(*, seed: int, **how: object) -> nn.Module:
        network = train(seed=seed, **{**how, "epochs": 1})  # type: ignore[arg-type]
        seen.append((network, {"seed": seed, **how}))
        return network

    monkeypatch.setattr(bp, "train", watched)
    metrics = bp.reproduce(3)
    assert [how["seed"] for _, how in seen] == [3] * 9
    assert all(set(how) <= {"seed", "build", "after_step", "penalty"} for _, how in seen)
    networks = dict(zip(bp.variants(), (network for network, _ in seen), strict=True))
    for name, network in networks.items():
        assert metrics[name] == accuracy(network)
    for name in ("manhattan", "euclidean", "manhattan_strong", "without_regularizer"):
        assert metrics[f"spread_{name}"] == bp.weight_spread(networks[name])
    assert metrics["slope_error"] == bp.slope_error(5.0)
    assert metrics["gap_swish"] == bp.gap_to_sign(partial(bp.sign_swish, beta=5.0))
    assert metrics["gap_swish_twice_beta"] == bp.gap_to_sign(partial(bp.sign_swish, beta=10.0))
    assert metrics["gap_clip"] == pytest.approx(1, abs=1e-9)
    assert len(metrics) == 9 + 4 + 4
    for claim in bp.CLAIMS:
        assert claim.metric in metrics
        other = claim.expected if isinstance(claim, Exact) else claim.baseline
        assert not isinstance(other, str) or other in metrics
        if isinstance(claim, Difference) and claim.metric.startswith("spread"):
            assert (claim.direction, claim.margin) == ("below", 0)


def test_quantizers_are_scale_times_integers_with_their_own_gradients() -> None:
    weights, activations = bp.QUANTIZERS
    x = filters(5, 4, 3, 3)
    for quantizer in bp.QUANTIZERS:
        integers, scale = quantizer.to_integers(x)
        assert integers.dtype == torch.int64
        assert set(integers.flatten().tolist()) == {-1, 1}
        assert torch.equal(scale * integers, quantizer.quantize(x))
        assert quantizer.to_integers(x.double())[1].dtype == torch.float64
        assert quantizer.bits == 1
    assert (weights.name, activations.name) == ("weights", "activations")
    assert max(curve(activations).gradient) == pytest.approx(5)
    (level,) = {abs(value) for value in curve(weights).y}
    assert set(curve(weights).gradient) == {level}


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(bp.RECORD))
    with deterministic(0):
        metrics = bp.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
    assert metrics["gap_swish"] == pytest.approx(accepted.metrics["gap_swish"][0], abs=1e-5)
