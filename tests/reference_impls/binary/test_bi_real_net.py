from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.binary import bi_real_net as bi
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import QuantConv2d, SmallCNN
from reference_impls.kit.quantizers import curve
from reference_impls.kit.results import read
from reference_impls.kit.ste import sign
from reference_impls.kit.train import accuracy, deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)
POINTS = [-3.0, -1.0, -0.75, -0.4, -0.0, 0.0, 0.25, 0.4, 1.0, 2.5]
UPSTREAM = torch.arange(1.0, len(POINTS) + 1)


def gradient(y: Tensor, x: Tensor, upstream: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(y, x, upstream)
    return result


def paper_polynomial(x: float) -> float:
    if x < -1:
        return -1.0
    if x < 0:
        return 2 * x + x**2
    if x < 1:
        return 2 * x - x**2
    return 1.0


def paper_slope(x: float) -> float:
    if -1 <= x < 0:
        return 2 + 2 * x
    if 0 <= x < 1:
        return 2 - 2 * x
    return 0.0


def test_polynomial_and_slope_are_those_of_the_paper_piece_by_piece() -> None:
    x = torch.tensor(POINTS, dtype=torch.float64)
    np.testing.assert_allclose(bi.approx_sign(x), [paper_polynomial(v) for v in POINTS], rtol=1e-15)
    np.testing.assert_allclose(bi.approx_sign_slope(x), [paper_slope(v) for v in POINTS], rtol=1e-15)


def test_slope_is_the_derivative_of_the_polynomial() -> None:
    x = torch.linspace(-1.6, 1.6, 161, dtype=torch.float64)
    h = 1e-6
    numeric = (bi.approx_sign(x + h) - bi.approx_sign(x - h)) / (2 * h)
    assert torch.allclose(numeric, bi.approx_sign_slope(x), atol=3e-6)


def test_activations_are_signs_with_a_triangle_for_a_slope_which_a_plain_straight_through_sign_has_not() -> None:
    x = torch.tensor(POINTS, requires_grad=True)
    y = bi.binarize(x)
    assert y.tolist() == [1 if v >= 0 else -1 for v in POINTS]
    expected = UPSTREAM * torch.tensor([paper_slope(v) for v in POINTS])
    assert torch.allclose(gradient(y, x, UPSTREAM), expected)
    assert float(gradient(bi.binarize(x), x, UPSTREAM)[5]) == 12.0  # slope 2 at 0; a box would give 6


def test_the_ablated_gradient_is_a_box() -> None:
    x = torch.tensor(POINTS, requires_grad=True)
    y = bi.binarize_clipped(x)
    assert torch.equal(y, bi.binarize(x))
    assert gradient(y, x, UPSTREAM).tolist() == [0, 0, 3, 4, 5, 6, 7, 8, 0, 0]


def filters(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_weights_are_the_mean_magnitude_of_their_filter_times_the_sign_and_not_plain_signs() -> None:
    w = filters(4, 3, 3, 3)
    plain = w.numpy()
    mean = np.abs(plain).reshape(4, -1).mean(axis=1).reshape(4, 1, 1, 1)
    assert bi.weight_scale(w).shape == (4, 1, 1, 1)
    np.testing.assert_allclose(bi.binarize_weight(w), mean * np.where(plain >= 0, 1, -1), rtol=1e-6)
    assert torch.equal(bi.binarize_weight_unscaled(w), bi.binarize_weight(w))
    assert torch.equal(bi.sign_weight(w), torch.where(w >= 0, 1.0, -1.0))


def test_weight_gradients_carry_the_mean_only_by_the_papers_rule_and_vanish_from_one_on() -> None:
    w = torch.tensor([[0.5, -0.1, 1.0, -1.6], [0.2, 0.2, -0.99, 0.01]], requires_grad=True)
    upstream = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    inside = torch.tensor([[1.0, 2.0, 0.0, 0.0], [5.0, 6.0, 7.0, 8.0]])
    mean = torch.tensor([[0.8], [0.35]])
    assert torch.allclose(gradient(bi.binarize_weight(w), w, upstream), mean * inside)
    assert torch.equal(gradient(bi.binarize_weight_unscaled(w), w, upstream), inside)
    assert torch.equal(gradient(bi.sign_weight(w), w, upstream), inside)


@PROPERTY
@given(st.lists(st.floats(-4, 4, width=32), min_size=2, max_size=24), st.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_binary_weights_keep_mean_and_signs_and_grow_with_the_weights(values: list[float], factor: float) -> None:
    w = torch.tensor([values])
    y = bi.binarize_weight(w)
    assert torch.allclose(bi.binarize_weight(y), y, rtol=1e-5)
    assert torch.equal(bi.binarize_weight(factor * w), factor * y)
    assert torch.allclose(y.abs(), w.abs().mean().expand_as(y), rtol=1e-5)
    assert len(torch.unique(bi.binarize(w))) <= 2


@PROPERTY
@given(st.floats(-3, 3))
def test_the_polynomial_is_odd_bounded_and_nearer_to_the_sign_than_the_clip(value: float) -> None:
    x = torch.tensor([value, -value], dtype=torch.float64)
    y = bi.approx_sign(x)
    assert torch.equal(y[0], -y[1])
    assert float(y.abs().max()) <= 1
    assert float((y[0] - sign(x)[0]).abs()) <= float((x.clamp(-1, 1)[0] - sign(x)[0]).abs())


def test_gaps_are_the_areas_of_the_closed_form() -> None:
    assert bi.gap_to_sign(bi.approx_sign) == pytest.approx(2 / 3, abs=1e-6)
    assert bi.gap_to_sign(lambda x: x.clamp(-1, 1)) == pytest.approx(1, abs=1e-9)
    assert bi.gap_to_sign(torch.zeros_like) == pytest.approx(2, abs=1e-9)


def test_the_shortcut_is_the_pooled_input_with_its_channels_repeated() -> None:
    x = filters(2, 3, 4, 6)
    carried = bi.carry(x, 6)
    pooled = x.reshape(2, 3, 2, 2, 3, 2).mean(dim=(3, 5))
    assert torch.allclose(carried, torch.cat([pooled, pooled], dim=1), atol=1e-6)
    assert torch.allclose(bi.carry(x, 3), pooled, atol=1e-6)
    with pytest.raises(ValueError, match="3 channels cannot be repeated to 4"):
        bi.carry(x, 4)


@pytest.mark.parametrize("shortcut", [True, False])
def test_a_block_adds_its_real_input_which_a_plain_binary_block_does_not(shortcut: bool) -> None:
    torch.manual_seed(1)
    block = bi.BiRealBlock(2, 4, activation=bi.binarize, weight=bi.binarize_weight, shortcut=shortcut).eval()
    block.norm.running_mean = torch.tensor([0.1, -0.2, 0.3, 0.4])
    x = filters(5, 2, 8, 8)
    w = block.conv.weight.detach()
    mean = w.abs().mean(dim=(1, 2, 3), keepdim=True)
    y = block.norm(
        nn.functional.max_pool2d(
            nn.functional.conv2d(torch.where(x >= 0, 1.0, -1.0), mean * torch.where(w >= 0, 1.0, -1.0), padding=1), 2
        )
    )
    if shortcut:
        y = y + nn.functional.avg_pool2d(torch.cat([x, x], dim=1), 2)
    assert torch.allclose(block(x), y, atol=1e-6)
    assert block(x).shape == (5, 4, 4, 4)
    assert dict(block.named_parameters()).keys() == {"conv.weight", "norm.weight", "norm.bias"}


def test_real_values_reach_the_head_through_shortcuts_alone() -> None:
    network = bi.cnn().eval()
    for part in network.blocks:
        assert isinstance(part, bi.BiRealBlock)
        nn.init.zeros_(part.norm.weight)
    x = digits().test_x[:7]
    stem = nn.functional.avg_pool2d(network.stem(x), 4).repeat(1, 2, 1, 1)
    assert torch.allclose(network.blocks(network.stem(x)), stem, atol=1e-6)


def parts(network: nn.Module) -> list[bi.BiRealBlock]:
    return [part for part in network.modules() if isinstance(part, bi.BiRealBlock)]


def test_variants_differ_from_the_method_in_what_their_names_say() -> None:
    expected = {
        "bi_real": (bi.binarize, bi.binarize_weight, True),
        "without_shortcut": (bi.binarize, bi.binarize_weight, False),
        "clipped_gradient": (bi.binarize_clipped, bi.binarize_weight, True),
        "sign_weights": (bi.binarize, bi.sign_weight, True),
        "unscaled_update": (bi.binarize, bi.binarize_weight_unscaled, True),
    }
    built = {name: build() for name, build in bi.variants().items()}
    assert built.keys() == expected.keys()
    for name, network in built.items():
        assert isinstance(network, SmallCNN)
        assert len(parts(network)) == 2
        for block in parts(network):
            assert (block.activation, block.conv.quantizer, block.shortcut) == expected[name]


def test_optimizers_are_momentum_sgd_of_everything_and_of_batch_norm_alone() -> None:
    network = bi.cnn()
    optimizer = bi.momentum_sgd(network)
    assert type(optimizer) is torch.optim.SGD
    (group,) = optimizer.param_groups
    assert {id(p) for p in group["params"]} == {id(p) for p in network.parameters()}
    with deterministic(0):
        network(digits().train_x[:64])
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(norms) == 3
    only = bi.norm_sgd(network)
    assert type(only) is torch.optim.SGD
    (few,) = only.param_groups
    assert {id(p) for p in few["params"]} == {id(p) for norm in norms for p in norm.parameters()}
    for settings_ in (group, few):
        assert (settings_["lr"], settings_["momentum"], settings_["weight_decay"]) == (0.3, 0.9, 0)
    for norm in norms:
        assert norm.momentum is None
        assert norm.running_mean is not None
        assert torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean))


def test_signs_take_the_place_of_scaled_weights_and_batch_norm_takes_over_the_scale() -> None:
    network = train(bi.cnn, 0, epochs=2, optimizer=bi.momentum_sgd)
    before = accuracy(network)
    bi.to_signs(network)
    for block in parts(network):
        assert set(block.conv.quantizer(block.conv.weight).flatten().tolist()) == {-1.0, 1.0}
    weights = [block.conv.weight.detach().clone() for block in parts(network)]
    retrained = train(lambda: network, 0, epochs=1, optimizer=bi.norm_sgd)
    assert retrained is network
    assert all(torch.equal(a, b.conv.weight) for a, b in zip(weights, parts(network), strict=True))
    assert accuracy(network) > before - 10


def test_halved_weights_double_the_gradient_only_without_the_mean_in_it() -> None:
    assert bi.gradient_growth(bi.sign_weight, 0) == 1
    assert bi.gradient_growth(bi.binarize_weight, 0) == pytest.approx(1, abs=0.01)
    assert bi.gradient_growth(bi.binarize_weight_unscaled, 0) == pytest.approx(2, abs=0.01)
    assert bi.gradient_growth(bi.binarize_weight, 1) == bi.gradient_growth(bi.binarize_weight, 1)
    assert bi.gradient_growth(bi.binarize_weight, 1) != bi.gradient_growth(bi.binarize_weight, 2)


def test_growth_is_that_of_the_gradient_at_all_latent_weights_on_all_training_images() -> None:
    lengths = []
    for factor in (1.0, 0.5):
        with deterministic(5):
            network = bi.cnn(weight=bi.binarize_weight_unscaled)
        for block in parts(network):
            block.conv.weight.data *= factor
        nn.functional.cross_entropy(network(digits().train_x), digits().train_y).backward()  # type: ignore[no-untyped-call]
        squares = [
            float(b.conv.weight.grad.double().square().sum()) for b in parts(network) if b.conv.weight.grad is not None
        ]
        lengths.append(sum(squares) ** 0.5)
    assert bi.gradient_growth(bi.binarize_weight_unscaled, 5) == pytest.approx(lengths[1] / lengths[0], rel=1e-4)


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[nn.Module, int, dict[str, object]]] = []

    def watched(build: object, seed: int, **how: object) -> nn.Module:
        network = train(build, seed, **{**how, "epochs": 1})  # type: ignore[arg-type]
        seen.append((network, seed, how))
        return network

    monkeypatch.setattr(bi, "train", watched)
    metrics = bi.reproduce(3)
    assert [seed for _, seed, _ in seen] == [3] * 7
    hows = [how for _, _, how in seen]
    assert hows[:5] == [{"optimizer": bi.momentum_sgd}] * 5
    assert hows[5:] == [{"epochs": 1, "optimizer": bi.norm_sgd}, {}]
    assert seen[5][0] is seen[0][0]
    assert {part.quantizer for part in seen[5][0].modules() if isinstance(part, QuantConv2d)} == {bi.sign_weight}
    last = parts(seen[6][0])
    assert {(b.activation, b.conv.quantizer, b.shortcut) for b in last} == {(bi.binarize, bi.binarize_weight, True)}
    named = {name for claim in bi.CLAIMS for name in (claim.metric, *_baseline(claim))}
    assert named <= set(metrics)
    for (network, _, _), name in zip(seen[1:5], list(bi.variants())[1:], strict=True):
        assert metrics[name] == accuracy(network)
    assert metrics["signs_retrained"] == accuracy(seen[5][0])
    assert metrics["cnn_accuracy"] == accuracy(seen[6][0])
    assert metrics["signs_before_retraining"] != metrics["bi_real"]
    growth = {name: value for name, value in metrics.items() if name.startswith("gradient_growth")}
    assert growth == {
        "gradient_growth": bi.gradient_growth(bi.binarize_weight, 3),
        "gradient_growth_unscaled": bi.gradient_growth(bi.binarize_weight_unscaled, 3),
        "gradient_growth_signs": 1.0,
    }
    assert metrics["gap_quadratic"] == pytest.approx(2 / 3, abs=1e-6)
    assert metrics["gap_clip"] == pytest.approx(1, abs=1e-6)
    assert len(metrics) == 5 + 2 + 2 + 3 + 1


def _baseline(claim: object) -> list[str]:
    named = claim.expected if isinstance(claim, Exact) else getattr(claim, "baseline", None)
    return [named] if isinstance(named, str) else []


def test_quantizers_are_scale_times_integers_with_their_own_gradients() -> None:
    weights, activations = bi.QUANTIZERS
    x = filters(5, 4, 3, 3)
    for quantizer in bi.QUANTIZERS:
        integers, scale = quantizer.to_integers(x)
        assert integers.dtype == torch.int64
        assert set(integers.flatten().tolist()) == {-1, 1}
        assert torch.equal(scale * integers, quantizer.quantize(x))
        assert quantizer.to_integers(x.double())[1].dtype == torch.float64
        assert quantizer.bits == 1
    assert (weights.name, activations.name) == ("weights", "activations")
    drawn = curve(activations)
    assert set(drawn.y) == {-1.0, 1.0}
    assert max(drawn.gradient) == pytest.approx(2)
    assert len({abs(v) for v in curve(weights).y}) == 1


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(bi.RECORD))
    with deterministic(0):
        metrics = bi.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
    assert metrics["gap_quadratic"] == pytest.approx(accepted.metrics["gap_quadratic"][0], abs=1e-5)
