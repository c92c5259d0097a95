from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.binary import abc_net
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import Split, digits
from reference_impls.kit.models import QuantConv2d, SmallCNN, identity
from reference_impls.kit.quantizers import Quantizer, curve
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=40)
FILTERS = st.lists(st.floats(-4, 4, width=32), min_size=8, max_size=8)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def numpy_bases(weight: Tensor, count: int) -> np.ndarray:
    w = weight.double().numpy()
    shifts = [-1 + 2 * i / (count - 1) for i in range(count)] if count > 1 else [0.0]
    return np.array(
        [np.where(w - w.mean() + u * np.sqrt(((w - w.mean()) ** 2).mean()) >= 0, 1.0, -1.0) for u in shifts]
    )


def test_shifts_are_those_of_the_paper_and_zero_for_one_base() -> None:
    assert abc_net.spread(1).tolist() == [0.0]
    assert abc_net.spread(2).tolist() == [-1.0, 1.0]
    assert abc_net.spread(3).tolist() == [-1.0, 0.0, 1.0]
    assert abc_net.spread(5).tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]


@pytest.mark.parametrize("count", [0, -2])
def test_no_base_at_all_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=rf"^at least one base is needed, got {count}$"):
        abc_net.spread(count)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_bases_are_the_signs_of_centred_weights_shifted_by_standard_deviations(count: int) -> None:
    w = normal(4, 2, 3, 3) * 0.3 + 0.2
    bases = abc_net.weight_bases(w, count)
    assert bases.shape == (count, 4, 2, 3, 3)
    np.testing.assert_array_equal(bases.numpy(), numpy_bases(w, count))
    assert abc_net.weight_bases(w.double(), count).dtype == torch.float64


def test_scales_are_the_least_squares_solution_of_numpy() -> None:
    w = normal(3, 20)
    bases = abc_net.weight_bases(w, 3)
    expected = np.linalg.lstsq(bases.flatten(1).double().numpy().T, w.flatten().double().numpy(), rcond=None)[0]
    np.testing.assert_allclose(abc_net.least_squares_scales(w, bases), expected, rtol=1e-5)


def test_coinciding_bases_share_the_scale_evenly() -> None:
    w = normal(30)
    base = abc_net.weight_bases(w, 1)
    scales = abc_net.least_squares_scales(w, base.repeat(2, 1))
    assert torch.allclose(scales, (w * base[0]).mean().expand(2) / 2, atol=1e-6)


@PROPERTY
@given(FILTERS, st.integers(1, 4), st.lists(st.floats(-2, 2), min_size=4, max_size=4))
def test_no_other_scales_come_closer(values: list[float], count: int, others: list[float]) -> None:
    w = torch.tensor(values, dtype=torch.float64)
    bases = abc_net.weight_bases(w, count)
    fitted = abc_net.combine(abc_net.least_squares_scales(w, bases), bases)
    other = abc_net.combine(torch.tensor(others[:count], dtype=torch.float64), bases)
    greedy = abc_net.combine(abc_net.greedy_scales(w, bases), bases)
    error = (w - fitted).square().sum()
    assert error <= (w - other).square().sum() + 1e-9
    assert error <= (w - greedy).square().sum() + 1e-9


def test_greedy_scales_fit_one_base_after_another() -> None:
    w = normal(50, seed=3)
    bases = abc_net.weight_bases(w, 3)
    residual, expected = w.clone(), []
    for base in bases:
        expected.append(float((residual @ base) / 50))
        residual -= expected[-1] * base
    assert abc_net.greedy_scales(w, bases).tolist() == pytest.approx(expected, rel=1e-5)
    assert abc_net.greedy_scales(w.double(), bases.double()).dtype == torch.float64


def test_combine_weighs_each_base() -> None:
    bases = torch.tensor([[[1.0, -1.0]], [[1.0, 1.0]]])
    assert abc_net.combine(torch.tensor([2.0, 0.5]), bases).tolist() == [[2.5, -1.5]]


def test_value_walks_through_one_level_more_than_there_are_bases_unlike_plain_rounding_or_sign() -> None:
    w = torch.linspace(-2, 2, 400)
    for count in (1, 2, 3, 5):
        levels = abc_net.approximate_weight(w, count).round(decimals=4)
        assert len(set(levels.tolist())) == count + 1
    levels = abc_net.approximate_weight(w, 3).round(decimals=4)
    assert not set(levels.tolist()) & {-2.0, -1.0, 0.0, 1.0, 2.0}
    assert set(levels.sign().tolist()) == {-1.0, 1.0}


def test_one_base_is_the_sign_with_the_best_scale() -> None:
    w = normal(40) - normal(40).mean()
    w = w - w.mean()
    assert torch.allclose(abc_net.approximate_weight(w, 1), w.abs().mean() * torch.sign(w), rtol=1e-5)


@PROPERTY
@given(FILTERS.filter(lambda v: np.std(v) > 0.1), st.floats(0.1, 10))
def test_approximation_scales_with_the_weights(values: list[float], factor: float) -> None:
    w = torch.tensor(values, dtype=torch.float64)
    margin = (w - w.mean() + abc_net.spread(3).double()[:, None] * w.std(correction=0)).abs().min()
    if margin < 1e-9:
        return  # a weight on a threshold may fall to either side
    assert torch.allclose(abc_net.approximate_weight(factor * w, 3), factor * abc_net.approximate_weight(w, 3))


@pytest.mark.parametrize("count", [1, 3])
def test_weight_gradient_adds_up_over_the_binary_convolutions_with_their_scales(count: int) -> None:
    w = normal(4, 2, 3, 3).requires_grad_()
    x, upstream = normal(2, 2, 6, 6, seed=1), normal(2, 4, 6, 6, seed=2)
    output = F.conv2d(x, abc_net.approximate_weight(w, count), padding=1)
    (gradient,) = torch.autograd.grad(output, w, upstream)
    bases = abc_net.weight_bases(w.detach(), count)
    expected = torch.zeros_like(w)
    for alpha, base in zip(abc_net.least_squares_scales(w.detach(), bases), bases, strict=True):
        leaf = base.clone().requires_grad_()
        (part,) = torch.autograd.grad(F.conv2d(x, leaf, padding=1), leaf, upstream)
        expected = expected + alpha * part
    assert torch.allclose(gradient, expected, rtol=1e-4, atol=1e-5)
    plain = torch.autograd.grad(F.conv2d(x, w, padding=1), w, upstream)[0]
    assert not torch.allclose(gradient, plain, rtol=0.05)  # a plain straight-through estimator would give this


POINTS = [-1.2, -1.0, -0.7, -0.5, -0.0, 0.2, 0.5, 0.8, 1.0, 1.3]


@pytest.mark.parametrize("shift", [-0.5, 0.0, 0.7])
def test_activation_value_and_gradient_are_those_of_the_shifted_and_bounded_input(shift: float) -> None:
    x = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
    v = torch.tensor([shift], dtype=torch.float64, requires_grad=True)
    y = abc_net.activation_bases(x, v)
    bounded = np.clip(np.array(POINTS) + shift, 0, 1)
    assert y.tolist() == [np.where(bounded >= 0.5, 1.0, -1.0).tolist()]
    upstream = torch.arange(1.0, 11.0, dtype=torch.float64)[None]
    dx, dv = torch.autograd.grad(y, (x, v), upstream)
    inside = (np.array(POINTS) + shift >= 0) & (np.array(POINTS) + shift <= 1)
    np.testing.assert_array_equal(dx.numpy(), inside * np.arange(1.0, 11.0))
    assert dv.tolist() == [float((inside * np.arange(1.0, 11.0)).sum())]


def test_slope_is_the_derivative_of_the_bounded_activation_by_finite_differences() -> None:
    x = torch.tensor([-0.5, -0.01, 0.01, 0.4, 0.99, 1.01, 2.0], dtype=torch.float64)
    step = 1e-6
    difference = ((x + step).clamp(0, 1) - (x - step).clamp(0, 1)) / (2 * step)
    assert torch.allclose(abc_net.bounded_slope(x), difference)
    assert abc_net.bounded_slope(torch.tensor([0.0, 1.0])).tolist() == [1.0, 1.0]


def test_activations_start_evenly_spread_and_weighted_and_are_trained_unless_told_otherwise() -> None:
    layer = abc_net.BinaryActivations(3)
    assert layer.shift.tolist() == [-1.0, 0.0, 1.0]
    assert layer.scale.tolist() == pytest.approx([1 / 3] * 3)
    assert all(p.requires_grad for p in layer.parameters())
    assert not any(p.requires_grad for p in abc_net.BinaryActivations(2, learned=False).parameters())
    x = torch.tensor([[-1.0, 0.0, 1.0, 2.0]])
    assert torch.allclose(layer(x), torch.tensor([[-1.0, -1 / 3, 1 / 3, 1.0]]))


def test_scale_has_its_ordinary_derivative() -> None:
    layer, x = abc_net.BinaryActivations(2), normal(3, 5)
    layer(x).sum().backward()
    bases = torch.where(x + torch.tensor([-1.0, 1.0]).reshape(2, 1, 1) >= 0.5, 1.0, -1.0)
    assert layer.scale.grad is not None
    assert torch.allclose(layer.scale.grad, bases.sum(dim=(1, 2)))


def test_bitwise_convolution_is_the_real_one_of_both_approximations() -> None:
    x, w = normal(3, 2, 7, 7), normal(5, 2, 3, 3, seed=1)
    shift, scale = torch.tensor([-0.7, 0.4]), torch.tensor([0.3, 0.9])
    result = abc_net.bitwise_convolution(x, w, 3, shift, scale)
    maps = sum(b * torch.where(x + v >= 0.5, 1.0, -1.0) for v, b in zip(shift, scale, strict=True))
    bases = torch.from_numpy(numpy_bases(w, 3)).float()
    alpha = np.linalg.lstsq(bases.flatten(1).numpy().T, w.flatten().numpy(), rcond=None)[0]
    expected = sum(float(a) * F.conv2d(torch.as_tensor(maps), base) for a, base in zip(alpha, bases, strict=True))
    assert result.shape == (3, 5, 5, 5)
    assert torch.allclose(result, torch.as_tensor(expected), rtol=1e-4, atol=1e-4)


def test_relative_error_is_in_percent() -> None:
    assert abc_net.relative_error(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0])) == pytest.approx(4.0)


def test_searched_error_finds_scales_on_the_grid_and_only_them() -> None:
    bases = torch.tensor([[1.0, 1.0, -1.0], [1.0, -1.0, -1.0]])
    w = abc_net.combine(
        torch.tensor([0.5, -0.25]), bases
    )  # the largest magnitude is 0.75: 0.5 and -0.25 on a grid of 6
    assert abc_net.searched_error(w, bases, steps=6) == pytest.approx(0, abs=1e-5)
    line = np.linspace(-0.75, 0.75, 5)
    brute = min(
        ((w.numpy() - a * bases[0].numpy() - b * bases[1].numpy()) ** 2).sum() / (w.numpy() ** 2).sum()
        for a, b in itertools.product(line, line)
    )
    assert brute > 0
    assert abc_net.searched_error(w, bases, steps=4) == pytest.approx(100 * brute)
    best = abc_net.relative_error(normal(60), abc_net.approximate_weight(normal(60), 2))
    searched = abc_net.searched_error(normal(60), abc_net.weight_bases(normal(60), 2))
    assert best <= searched <= best + 0.5
    assert searched != abc_net.searched_error(normal(60), abc_net.weight_bases(normal(60), 2), steps=61)


def test_worse_scales_would_fail_the_claim() -> None:
    w = normal(144)
    bases = abc_net.weight_bases(w, 3)
    worse = abc_net.combine(1.1 * abc_net.least_squares_scales(w, bases), bases)
    assert abc_net.relative_error(w, worse) > abc_net.searched_error(w, bases) + 1e-4


def test_variants_have_the_bases_that_their_names_say() -> None:
    built = {name: build() for name, build in abc_net.variants().items()}
    assert list(built) == ["bases_1_1", "bases_3_1", "bases_3_3", "bases_5_5", "fixed_activations", "full_precision"]
    for name, network in built.items():
        for block in network.blocks:
            assert isinstance(block, nn.Sequential)
            activation, conv, pool, norm = block
            assert isinstance(conv, QuantConv2d)
            assert (type(pool), type(norm)) == (nn.MaxPool2d, nn.BatchNorm2d)
            if name == "full_precision":
                assert conv.quantizer is identity
                continue
            weights, activations = (3, 3) if name == "fixed_activations" else map(int, name.split("_")[1:])
            assert isinstance(conv.quantizer, partial)
            assert (conv.quantizer.func, conv.quantizer.keywords) == (abc_net.approximate_weight, {"count": weights})
            assert isinstance(activation, abc_net.BinaryActivations)
            assert activation.shift.shape == (activations,)
            assert activation.shift.requires_grad == (name != "fixed_activations")
        assert list(abc_net.first_block(network)) == list(network.blocks[0].children())[:2]


def test_the_bitwise_gap_is_rounding_only_and_sees_a_wrong_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    with deterministic(1):
        network = abc_net.network(3, 3).eval()
    assert 0 <= abc_net.bitwise_gap(network) < 1e-6
    act, conv = abc_net.first_block(network)
    right = abc_net.bitwise_convolution
    monkeypatch.setattr(abc_net, "bitwise_convolution", lambda *given: 1.5 * right(*given))
    assert abc_net.bitwise_gap(network, 8) == pytest.approx(0.5, rel=1e-4)
    seen: list[tuple[Tensor, Tensor, int, Tensor, Tensor]] = []

    def watched(*given: object) -> Tensor:
        seen.append(given)  # type: ignore[arg-type]
        return right(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(abc_net, "bitwise_convolution", watched)
    abc_net.bitwise_gap(network)
    (given,) = seen
    assert given[0].shape == (64, 4, 8, 8)
    assert given[1] is conv.weight
    assert given[2] == 3
    assert given[3] is act.shift
    assert given[4] is act.scale
    assert torch.equal(given[0], network.stem(digits().test_x[:64]))


def test_weight_errors_fall_with_the_bases_and_greedy_scales_lose() -> None:
    w = normal(4, 4, 3, 3)
    errors = abc_net.weight_errors(w)
    assert list(errors) == ["error_1", "error_3", "error_5", "greedy_error_3", "searched_error_3"]
    assert errors["error_5"] < errors["error_3"] < errors["error_1"]
    assert errors["error_3"] <= errors["searched_error_3"] < errors["greedy_error_3"]
    assert errors["error_3"] == abc_net.relative_error(w, abc_net.approximate_weight(w, 3))
    bases = abc_net.weight_bases(w, 3)
    assert errors["greedy_error_3"] == abc_net.relative_error(
        w, abc_net.combine(abc_net.greedy_scales(w, bases), bases)
    )
    assert errors["searched_error_3"] == abc_net.searched_error(w, bases)


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    data, seen = digits(), []
    tiny = Split(data.train_x[:128], data.train_y[:128], data.test_x, data.test_y)

    def watched(build: object, seed: int, *, epochs: int) -> nn.Module:
        seen.append((seed, epochs))
        return train(build, seed, epochs=epochs, data=tiny)  # type: ignore[arg-type]

    monkeypatch.setattr(abc_net, "EPOCHS", 1)
    monkeypatch.setattr(abc_net, "train", watched)
    monkeypatch.setattr(abc_net, "bitwise_gap", lambda network: float(len(abc_net.first_block(network)[0].shift)))
    with deterministic(4):
        metrics = abc_net.reproduce(4)
    assert seen == [(4, 1)] * 6
    named = {claim.metric for claim in abc_net.CLAIMS} | {
        other for c in abc_net.CLAIMS if isinstance(other := c.expected if isinstance(c, Exact) else c.baseline, str)
    }
    assert named <= set(metrics)
    assert metrics["cnn_accuracy"] == metrics["bases_3_3"]
    assert metrics["bitwise_gap"] == 3
    full = train(abc_net.variants()["full_precision"], 4, epochs=1, data=tiny)
    assert isinstance(full, SmallCNN)
    assert metrics["error_3"] == abc_net.weight_errors(abc_net.first_block(full)[1].weight.detach())["error_3"]
    assert all(0 < metrics[name] <= 100 for name in abc_net.variants())


@pytest.mark.parametrize("quantizer", abc_net.QUANTIZERS, ids=lambda q: q.name)
def test_quantizers_are_scale_times_integers_on_all_their_levels(quantizer: Quantizer) -> None:
    x = normal(7, 5, 3)
    integers, scale = quantizer.to_integers(x)
    assert integers.dtype == torch.int64
    assert torch.equal(scale * integers, quantizer.quantize(x))
    drawn = curve(quantizer)
    assert len(set(drawn.y)) == (2 if quantizer.bits == 1 else 4)
    assert max(drawn.gradient) > 0


def test_the_terms_of_the_weights_add_up_in_value_and_gradient() -> None:
    w = normal(6, 10).requires_grad_()
    whole = abc_net.approximate_weight(w, 3)
    terms = [abc_net.weight_term(w, m) for m in range(3)]
    assert torch.allclose(torch.stack(terms).sum(dim=0), whole, atol=1e-6)
    (expected,) = torch.autograd.grad(whole.sum(), w)
    (gradient,) = torch.autograd.grad(torch.stack(terms).sum(), w)
    assert torch.allclose(gradient, expected, rtol=1e-5)
    assert [q.name for q in abc_net.QUANTIZERS[:3]] == ["weights, base 1", "weights, base 2", "weights, base 3"]
    assert torch.equal(abc_net.QUANTIZERS[2].quantize(w), terms[2])


def test_the_activations_on_offer_are_those_of_a_fresh_layer() -> None:
    x = torch.linspace(-2.5, 2.5, 101)[None].requires_grad_()
    layer = abc_net.BinaryActivations(3)
    offered = abc_net.start_activation(x)
    assert torch.allclose(offered, layer(x))
    (expected,) = torch.autograd.grad(layer(x).sum(), x)
    (gradient,) = torch.autograd.grad(offered.sum(), x)
    assert torch.allclose(gradient, expected)
    assert set(abc_net.start_integers(x.detach())[0].flatten().tolist()) == {-3, -1, 1, 3}


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(abc_net.RECORD))
    with deterministic(0):
        metrics = abc_net.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
