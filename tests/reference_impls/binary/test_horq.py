from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.binary import horq
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import Split, digits
from reference_impls.kit.models import QuantConv2d, SmallCNN, identity
from reference_impls.kit.quantizers import Quantizer, curve
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)
COLUMNS = st.lists(st.floats(-4, 4, width=32), min_size=6, max_size=6)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def numpy_expansion(column: np.ndarray, order: int) -> list[tuple[float, np.ndarray, np.ndarray]]:
    residual, terms = column.astype(np.float64), []
    for _ in range(order):
        beta, h = np.abs(residual).sum() / len(residual), np.where(residual >= 0, 1.0, -1.0)
        terms.append((beta, h, residual))
        residual = residual - beta * h
    return terms


def test_expansion_of_a_worked_example() -> None:
    x = torch.tensor([[3.0, -1.0, 2.0, 0.0]])
    first, second = horq.expand(x, 2)
    assert first[0].tolist() == [[1.5]]
    assert first[1].tolist() == [[1, -1, 1, 1]]
    assert first[2].tolist() == x.tolist()
    assert second[2].tolist() == [[1.5, 0.5, 0.5, -1.5]]
    assert second[0].tolist() == [[1.0]]
    assert second[1].tolist() == [[1, 1, 1, -1]]
    assert horq.approximation([first, second]).tolist() == [[2.5, -0.5, 2.5, 0.5]]


@PROPERTY
@given(st.lists(COLUMNS, min_size=1, max_size=3), st.integers(1, 4))
def test_every_column_is_expanded_by_itself(columns: list[list[float]], order: int) -> None:
    x = torch.tensor(columns, dtype=torch.float64).T[None]  # (1, 6, columns)
    terms = horq.expand(x, order)
    assert len(terms) == order
    for place, column in enumerate(columns):
        for ours, theirs in zip(terms, numpy_expansion(np.array(column), order), strict=True):
            if np.abs(theirs[2][np.nonzero(theirs[2])]).min(initial=1) < 1e-9:
                return  # a residual of rounding errors may have either sign
            np.testing.assert_allclose(ours[0][0, 0, place], theirs[0], atol=1e-9)
            np.testing.assert_array_equal(ours[1][0, :, place], theirs[1])
            np.testing.assert_allclose(ours[2][0, :, place], theirs[2], atol=1e-9)


@PROPERTY
@given(COLUMNS)
def test_each_order_takes_exactly_n_squared_scales_from_the_squared_residual(values: list[float]) -> None:
    terms = horq.expand(torch.tensor([values], dtype=torch.float64), 4)
    for (scale, _, before), (_, _, after) in itertools.pairwise(terms):
        lost = float(before.square().sum() - after.square().sum())
        assert lost == pytest.approx(6 * float(scale) ** 2, abs=1e-9)


@PROPERTY
@given(COLUMNS, st.lists(st.sampled_from([-1.0, 1.0]), min_size=6, max_size=6), st.floats(-5, 5))
def test_no_signs_and_scale_approximate_a_residual_better(values: list[float], signs: list[float], a: float) -> None:
    for scale, h, residual in horq.expand(torch.tensor([values], dtype=torch.float64), 3):
        best = (residual - scale * h).square().sum()
        assert best <= (residual - a * torch.tensor(signs)).square().sum() + 1e-9


@PROPERTY
@given(COLUMNS.filter(lambda v: min(map(abs, v)) > 0.01), st.integers(1, 3))
def test_expansion_is_odd_and_scales_with_the_input(values: list[float], order: int) -> None:
    x = torch.tensor([values], dtype=torch.float64)
    terms = horq.expand(x, order)
    if min(float(residual.abs().min()) for _, _, residual in terms) < 1e-9:
        return
    value = horq.approximation(terms)
    assert torch.allclose(horq.approximation(horq.expand(-2.5 * x, order)), -2.5 * value)


def test_minus_zero_counts_as_zero() -> None:
    assert horq.expand(torch.tensor([[-0.0, 0.0, -2.0]]), 1)[0][1].tolist() == [[1, 1, -1]]


def test_places_beyond_the_border_have_no_sign_and_count_as_zeros() -> None:
    x = torch.tensor([[3.0, 0.0, -1.0, 0.0]])
    inside = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    first, second = horq.expand(x, 2, inside)
    assert first[0].tolist() == [[1.0]]
    assert first[1].tolist() == [[1, 0, -1, 0]]
    assert second[2].tolist() == [[2, 0, 0, 0]]
    assert second[1].tolist() == [[1, 0, 1, 0]]
    assert horq.quantize_input(x, 1, inside).tolist() == [[1, 0, -1, 0]]


@pytest.mark.parametrize("order", [0, -3])
def test_orders_below_one_are_refused(order: int) -> None:
    with pytest.raises(ValueError, match=rf"^the order must be at least 1, got {order}$"):
        horq.expand(torch.ones(1, 2), order)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_all_levels_are_met_and_differ_from_plain_rounding(order: int) -> None:
    x = torch.linspace(-2, 2, 400)[None]
    levels = set(horq.quantize_input(x, order).round(decimals=5).flatten().tolist())
    assert len(levels) == 2**order
    assert not levels & {-2.0, -1.0, 0.0, 1.0, 2.0} or order == 1
    assert all(math.isclose(-level, other) for level, other in zip(sorted(levels), sorted(levels)[::-1], strict=True))


def test_gradient_is_the_chain_rule_through_the_recursion_with_saturating_signs() -> None:
    column = np.array([2.5, -0.8, 0.3, 1.2, -1.6, 0.05])
    x = torch.tensor(column)[None].requires_grad_()
    upstream = torch.arange(1.0, 7.0, dtype=torch.float64)[None]
    for order in (1, 2, 3):
        (gradient,) = torch.autograd.grad(horq.quantize_input(x, order), x, upstream)
        residual_slope, value_slope = np.ones(6), np.zeros(6)  # d R_i / d x and d (sum of terms) / d x
        for beta, _, residual in numpy_expansion(column, order):
            sign_slope = beta * (np.abs(residual) <= 1) * residual_slope
            value_slope, residual_slope = value_slope + sign_slope, residual_slope - sign_slope
        np.testing.assert_allclose(gradient[0], upstream[0].numpy() * value_slope, rtol=1e-12)
        assert not np.allclose(value_slope, 1)  # a plain straight-through estimator


def test_gradient_of_order_one_is_the_scale_where_the_sign_is_not_saturated_bounds_included() -> None:
    x = torch.tensor([[1.0, -1.0, 1.001, 0.2, -3.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(horq.quantize_input(x, 1).sum(), x)
    beta = float(x.detach().abs().mean())
    assert gradient[0].tolist() == pytest.approx([beta, beta, 0, beta, 0])


def test_weights_are_those_of_xnor_net_in_value_and_gradient() -> None:
    w = torch.tensor([[0.4, -1.0, 1.001, -2.0], [0.1, 0.1, -0.1, 0.0]], requires_grad=True)
    y = horq.binarize_weight(w)
    alpha = [4.401 / 4, 0.075]
    assert torch.allclose(y, torch.tensor([[alpha[0]], [alpha[1]]]) * torch.tensor([[1.0, -1, 1, -1], [1, 1, -1, 1]]))
    upstream = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    (gradient,) = torch.autograd.grad(y, w, upstream)
    slope = [[0.25 + alpha[0], 0.25 + alpha[0], 0.25, 0.25], [0.325] * 4]
    assert torch.allclose(gradient, upstream * torch.tensor(slope))
    assert horq.filter_scale(normal(3, 2, 3, 3)).shape == (3, 1, 1, 1)


def test_columns_are_the_windows_and_inside_marks_what_is_no_padding() -> None:
    x = normal(2, 2, 4, 5)
    windows, inside = horq.columns(x)
    assert windows.shape == (2, 18, 20)
    assert inside.shape == (1, 18, 20)
    padded = F.pad(x, (1, 1, 1, 1))
    for place in range(20):
        row, column = divmod(place, 5)
        assert torch.equal(windows[1, :, place], padded[1, :, row : row + 3, column : column + 3].flatten())
        assert torch.equal(inside[0, :, place], (windows[1, :, place] != 0).float())


@pytest.mark.parametrize("order", [1, 2])
def test_convolution_multiplies_binary_filters_with_expanded_windows(order: int) -> None:
    with deterministic(2):
        conv = horq.HighOrderConv2d(3, 5, order)
    x = normal(2, 3, 4, 6)
    y = conv(x)
    assert y.shape == (2, 5, 4, 6)
    padded = F.pad(x, (1, 1, 1, 1)).numpy()
    w = conv.weight.detach().flatten(1).numpy()
    filters = np.abs(w).mean(axis=1, keepdims=True) * np.where(w >= 0, 1, -1)
    for n, row, column in [(0, 0, 0), (1, 2, 3), (1, 3, 5)]:
        window = padded[n, :, row : row + 3, column : column + 3].flatten()
        residual, total = window.copy(), np.zeros_like(window)
        for _ in range(order):
            term = np.abs(residual).mean() * np.where(residual >= 0, 1, -1) * (window != 0)
            total, residual = total + term, residual - term
        np.testing.assert_allclose(y[n, :, row, column].detach(), filters @ total, rtol=1e-4, atol=1e-6)
    assert conv.quantizer is horq.binarize_weight
    assert conv.order == order


def test_order_one_is_the_convolution_of_xnor_net_and_order_two_is_not() -> None:
    x, w = normal(2, 3, 5, 5), normal(4, 3, 3, 3, seed=1)
    magnitude = x.abs().mean(dim=1)
    scale = F.avg_pool2d(magnitude[:, None], 3, stride=1, padding=1)  # the mean over nine, zeros beyond the border
    signs = F.conv2d(torch.sign(x), torch.sign(w), padding=1)
    expected = signs * scale * w.abs().mean(dim=(1, 2, 3)).reshape(1, 4, 1, 1)
    assert torch.allclose(horq.xnor_convolution(x, w), expected, rtol=1e-4, atol=1e-5)
    conv = horq.HighOrderConv2d(3, 4, 1)
    conv.weight.data = w
    assert torch.allclose(conv(x), expected, rtol=1e-4, atol=1e-5)
    conv.order = 2
    assert not torch.allclose(conv(x), expected, rtol=0.1)


def test_bitwise_product_is_the_real_product_of_both_approximations() -> None:
    x, w = normal(2, 10, 3), normal(4, 10, seed=1)
    for order in (1, 3):
        result = horq.bitwise_product(x, w, order)
        assert result.shape == (2, 4, 3)
        for n in range(2):
            for place in range(3):
                terms = numpy_expansion(x[n, :, place].numpy(), order)
                value = sum(beta * h for beta, h, _ in terms)
                filters = w.abs().mean(dim=1, keepdim=True).numpy() * np.where(w.numpy() >= 0, 1, -1)
                np.testing.assert_allclose(result[n, :, place], filters @ value, rtol=1e-4, atol=1e-5)


def test_residual_errors_are_in_percent_of_all_columns_and_grown_columns_are_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, inside = horq.columns(normal(3, 2, 4, 4))
    errors, grown = horq.residual_errors(x, inside)
    assert grown == 0
    assert list(errors) == ["error_1", "error_2", "error_3", "error_4"]
    for order in (1, 4):
        rest = x - horq.approximation(horq.expand(x, order, inside))
        assert errors[f"error_{order}"] == pytest.approx(100 * float(rest.square().sum() / x.square().sum()), rel=1e-4)
    lengths = torch.tensor([[2.0, 2, 2], [2, 2.0001, 1], [1, 2, 0.5], [1, 1, 0.4], [1, 1, 0.5]])  # (orders, columns)

    def given(x: Tensor, order: int, inside: Tensor | None = None) -> horq.Terms:
        assert order == 5
        return [(x, x, row.reshape(1, 1, 3)) for row in lengths]

    monkeypatch.setattr(horq, "expand", given)
    errors, grown = horq.residual_errors(x, inside)
    assert grown == 2  # the second and the third, though by little and late; the first never grows
    assert errors["error_1"] == pytest.approx(100 * (4 + 2.0001**2 + 1) / 12)


def test_speedup_is_real_products_over_binary_ones_in_words_and_real_ones() -> None:
    assert horq.speedup(1) == pytest.approx(1152 / (1152 / 64 + 2))
    assert horq.speedup(3, 64, 25) == pytest.approx(1600 / (3 * 1600 / 64 + 4))
    printed = [round(horq.speedup(order)) for order in range(1, 5)]
    assert printed == [58, 30, 20, 15] == list(horq.SPEEDUPS)
    assert [round(horq.speedup(order, channels=256)) for order in range(1, 5)] != printed


def test_variants_get_the_order_that_their_names_say() -> None:
    built = {name: SmallCNN(block) for name, block in horq.variants().items()}
    assert list(built) == ["order_1", "order_2", "order_3", "real_inputs", "full_precision"]
    for name, network in built.items():
        for block in network.blocks:
            assert isinstance(block, nn.Sequential)
            kinds = [type(part) for part in block]
            if name.startswith("order"):
                assert kinds == [horq.HighOrderConv2d, nn.MaxPool2d, nn.BatchNorm2d]
                conv = block[0]
                assert isinstance(conv, horq.HighOrderConv2d)
                assert conv.order == int(name[-1])
            else:
                assert kinds == [nn.ReLU, QuantConv2d, nn.MaxPool2d, nn.BatchNorm2d]
                conv = block[1]
                assert isinstance(conv, QuantConv2d)
                assert conv.quantizer is (horq.binarize_weight if name == "real_inputs" else identity)
        assert network(digits().test_x[:2]).shape == (2, 10)


def test_exactness_sees_a_wrong_convolution_and_a_wrong_product(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = normal(2, 4, 5, 5), normal(4, 4, 3, 3, seed=1)
    right = horq.exactness(x, w)
    assert set(right) == {"xnor_net_gap", "bitwise_gap"}
    assert all(0 <= gap < 1e-5 for gap in right.values())
    product, convolution = horq.bitwise_product, horq.xnor_convolution
    monkeypatch.setattr(horq, "bitwise_product", lambda *given: 0.75 * product(*given))
    monkeypatch.setattr(horq, "xnor_convolution", lambda *given: 2 * convolution(*given))
    wrong = horq.exactness(x, w)
    assert wrong["bitwise_gap"] == pytest.approx(0.25, rel=1e-4)
    assert wrong["xnor_net_gap"] == pytest.approx(0.5, rel=1e-4)


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    data, seen = digits(), []
    tiny = Split(data.train_x[:128], data.train_y[:128], data.test_x, data.test_y)

    def watched(build: object, seed: int, *, epochs: int) -> nn.Module:
        seen.append((seed, epochs))
        return train(build, seed, epochs=epochs, data=tiny)  # type: ignore[arg-type]

    monkeypatch.setattr(horq, "EPOCHS", 1)
    monkeypatch.setattr(horq, "train", watched)
    with deterministic(4):
        metrics = horq.reproduce(4)
    assert seen == [(4, 1)] * 5
    named = {claim.metric for claim in horq.CLAIMS} | {
        other for c in horq.CLAIMS if isinstance(other := c.expected if isinstance(c, Exact) else c.baseline, str)
    }
    assert named <= set(metrics)
    assert metrics["cnn_accuracy"] == metrics["order_2"]
    assert metrics["grown_columns"] == 0
    assert metrics["speedup_miss"] == pytest.approx(30 - 73728 / 2496)
    second = train(partial(SmallCNN, horq.high_order_block(2)), 4, epochs=1, data=tiny)
    assert isinstance(second, SmallCNN)
    with torch.no_grad():
        errors, _ = horq.residual_errors(*horq.columns(second.stem(data.test_x)))
    assert {name: metrics[name] for name in errors} == pytest.approx(errors, rel=1e-4)
    assert 0 <= metrics["xnor_net_gap"] < 1e-5
    assert 0 <= metrics["bitwise_gap"] < 1e-5
    assert all(0 < metrics[name] <= 100 for name in horq.variants())


@pytest.mark.parametrize("quantizer", horq.QUANTIZERS, ids=lambda q: q.name)
def test_quantizers_are_scale_times_integers_on_two_levels(quantizer: Quantizer) -> None:
    x = normal(7, 5, 3)
    integers, scale = quantizer.to_integers(x)
    assert integers.dtype == torch.int64
    assert set(integers.flatten().tolist()) == {-1, 1}
    assert torch.equal(scale * integers, quantizer.quantize(x))
    assert len(set(curve(quantizer).y)) == 2


def test_the_terms_of_the_inputs_add_up_in_value_and_gradient() -> None:
    x = normal(4, 10).requires_grad_()
    whole = horq.quantize_input(x, 3)
    terms = [horq.term(x, i) for i in range(3)]
    assert torch.allclose(torch.stack(terms).sum(dim=0), whole, atol=1e-6)
    upstream = normal(4, 10, seed=1)
    (expected,) = torch.autograd.grad(whole, x, upstream)
    (gradient,) = torch.autograd.grad(torch.stack(terms).sum(dim=0), x, upstream)
    assert torch.allclose(gradient, expected, atol=1e-6)
    assert [q.name for q in horq.QUANTIZERS] == ["inputs, term 1", "inputs, term 2", "inputs, term 3", "weights"]
    assert torch.equal(horq.QUANTIZERS[1].quantize(x), terms[1])


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(horq.RECORD))
    with deterministic(0):
        metrics = horq.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
    assert metrics["grown_columns"] == 0
