from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from reference_impls.binary import heterogeneous_bitwidth as hb
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import Split, digits
from reference_impls.kit.models import QuantConv2d, QuantLinear, SmallCNN, identity
from reference_impls.kit.quantizers import Quantizer, curve
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)
WEIGHTS = st.lists(st.floats(-3, 3, width=32).map(lambda v: round(v, 4)), min_size=4, max_size=40)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("average", "expected"),
    [(1.0, (1.0, 0.0, 0.0)), (1.4, (0.7, 0.2, 0.1)), (2.0, (0.25, 0.5, 0.25)), (1.2, (0.85, 0.1, 0.05))],
)
def test_shares_add_up_to_one_and_to_the_average(average: float, expected: tuple[float, ...]) -> None:
    assert hb.shares(average) == pytest.approx(expected)
    assert sum(bits * share for bits, share in enumerate(hb.shares(average), start=1)) == pytest.approx(average)


@pytest.mark.parametrize("average", [0.9, 2.1, math.nan])
def test_other_averages_are_refused(average: float) -> None:
    with pytest.raises(ValueError, match=rf"^the average must lie between 1 and 2 bits, got {average}$"):
        hb.shares(average)


def test_keys_rank_as_their_names_say() -> None:
    w = torch.tensor([0.0, 3.0, -1.0, 2.0, -4.0])  # the mean magnitude is 2
    assert hb.middle_out(w).tolist() == [2.0, 1.0, 1.0, 0.0, 2.0]
    assert hb.top_down(w).tolist() == [0.0, 3.0, 1.0, 2.0, 4.0]
    assert hb.bottom_up(w).tolist() == [0.0, -3.0, -1.0, -2.0, -4.0]
    first, again, other = hb.at_random(w), hb.at_random(2 * w), hb.at_random(torch.zeros(6))
    assert torch.equal(first, again)
    assert first.shape == (5,)
    assert other.shape == (6,)
    assert len(set(first.tolist())) == 5
    assert {name: key.__name__ for name, key in hb.KEYS.items()} == {
        "middle_out": "middle_out",
        "random": "at_random",
        "top_down": "top_down",
        "bottom_up": "bottom_up",
    }


def test_middle_out_is_the_error_that_one_bit_leaves() -> None:
    w = normal(60)
    one_bit = hb.quantize_uniformly(w, 1)
    assert torch.allclose(hb.middle_out(w), (w - one_bit).abs(), atol=1e-6)


def test_bits_grow_with_the_key_in_the_given_shares() -> None:
    key = torch.tensor([[0.9, 0.1, 0.5, 0.3, 0.7], [0.2, 0.8, 0.0, 0.6, 0.4]])
    assert hb.bit_map(key, 1.4).tolist() == [[3, 1, 1, 1, 2], [1, 2, 1, 1, 1]]
    assert hb.bit_map(key, 1.4).dtype == torch.int64
    assert set(hb.bit_map(key, 1.0).flatten().tolist()) == {1}
    assert sorted(hb.bit_map(key, 2.0).flatten().tolist()) == [1] * 2 + [2] * 6 + [3] * 2


def test_ties_go_to_the_first() -> None:
    assert hb.bit_map(torch.zeros(10), 1.4).tolist() == [1] * 7 + [2] * 2 + [3]
    assert hb.bit_map(torch.zeros(400), 1.4).diff().min() == 0


@PROPERTY
@given(WEIGHTS, st.floats(1, 2))
def test_the_average_is_met_up_to_rounding_two_counts(values: list[float], average: float) -> None:
    for key in hb.KEYS.values():
        bits = hb.bit_map(key(torch.tensor(values)), average)
        assert set(bits.tolist()) <= {1, 2, 3}
        assert abs(float(bits.sum()) - average * len(values)) <= 1 + 1e-6


def by_hand(w: NDArray[np.float64], bits: NDArray[np.int64]) -> tuple[list[float], NDArray[np.float64]]:
    """Residual binarization, one weight at a time."""
    residual, scales, value = w.copy(), [], np.zeros_like(w)
    for n in range(bits.max()):
        chosen = [i for i in range(len(w)) if bits[i] > n]
        scales.append(sum(abs(residual[i]) for i in chosen) / len(chosen))
        for i in chosen:
            if n and abs(residual[i]) < 1e-9:
                reject()  # the sign of what rounding leaves of nothing
            step = scales[-1] if residual[i] >= 0 else -scales[-1]
            residual[i] -= step
            value[i] += step
    return scales, value


@PROPERTY
@given(WEIGHTS, st.integers(0, 1000))
def test_value_is_the_residual_binarization_of_the_granted_weights_only(values: list[float], seed: int) -> None:
    w = np.array(values)
    bits = np.random.default_rng(seed).integers(1, 4, size=len(w))
    scales, value = by_hand(w, bits)
    found, signs = hb.residual_binarization(torch.from_numpy(w), torch.from_numpy(bits))
    np.testing.assert_allclose(found, scales, atol=1e-12)
    assert found.dtype == torch.float64
    assert signs.shape == (bits.max(), len(w))
    for n, row in enumerate(signs):
        assert ((row != 0).numpy() == (bits > n)).all()
    np.testing.assert_allclose(hb.approximate(torch.from_numpy(w), torch.from_numpy(bits)), value, atol=1e-12)


def test_a_worked_example_differs_from_plain_sign_and_from_bits_for_all() -> None:
    w = torch.tensor([[1.0, -1.0, 4.0], [-2.0, 2.0, 0.0]])  # mean magnitude 10/6
    bits = torch.tensor([[1, 1, 3], [1, 1, 2]])
    first = 10 / 6
    second = ((4 - first) + first) / 2  # what is left of 4 and of 0, on average: 2
    third = abs(4 - first - second)
    expected = [[first, -first, first + second + third], [-first, first, first - second]]
    assert hb.approximate(w, bits).tolist() == [pytest.approx(row, rel=1e-6) for row in expected]


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_uniform_bits_walk_through_all_their_levels(bits: int) -> None:
    w = torch.linspace(-2, 2, 401)
    levels = torch.tensor(sorted(set(hb.quantize_uniformly(w, bits).round(decimals=5).tolist())))
    assert len(levels) == 2**bits
    scales, _ = hb.residual_binarization(w, torch.full(w.shape, bits))
    every = [
        sum(s * m for s, m in zip(combo, scales.tolist(), strict=True))
        for combo in itertools.product((-1, 1), repeat=bits)
    ]
    assert sorted(every) == pytest.approx(levels.tolist(), abs=1e-4)


def test_more_bits_come_closer_and_one_bit_has_the_best_scale() -> None:
    w = normal(500)
    errors = [hb.relative_error(w, hb.quantize_uniformly(w, bits)) for bits in (1, 2, 3)]
    assert errors == sorted(errors, reverse=True)
    assert torch.allclose(hb.quantize_uniformly(w, 1), w.abs().mean() * w.sign())
    mixed = [hb.relative_error(w, hb.quantize(w, average)) for average in (1.0, 1.2, 1.4, 1.7, 2.0)]
    assert mixed == sorted(mixed, reverse=True)
    assert mixed[0] == errors[0]


@PROPERTY
@given(WEIGHTS.filter(lambda v: np.std(v) > 0.1), st.sampled_from([0.25, 2.0, 8.0]))
def test_approximation_scales_with_the_weights(values: list[float], factor: float) -> None:
    w = torch.tensor(values, dtype=torch.float64)
    for key in hb.KEYS.values():
        assert torch.equal(hb.quantize(factor * w, key=key), factor * hb.quantize(w, key=key))


def test_quantize_is_the_approximation_under_the_map_of_its_key() -> None:
    w = normal(8, 30)
    assert torch.equal(hb.quantize(w), hb.approximate(w, hb.bit_map(hb.middle_out(w), 1.4)))
    other = hb.approximate(w, hb.bit_map(hb.bottom_up(w), 1.7))
    assert torch.equal(hb.quantize(w, 1.7, hb.bottom_up), other)
    kept = [hb.quantize(w, key=key) for key in hb.KEYS.values()]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(kept, 2))


def test_the_map_follows_the_weights_unless_it_is_random() -> None:
    w, moved = normal(200), normal(200, seed=1)
    for key in hb.KEYS.values():
        same = torch.equal(hb.bit_map(key(w), 1.4), hb.bit_map(key(moved), 1.4))
        assert same == (key is hb.at_random)


@pytest.mark.parametrize("quantizer", [hb.quantize, partial(hb.quantize_uniformly, bits=2)])
def test_gradient_stops_outside_one_unlike_a_plain_straight_through_estimator(quantizer: Any) -> None:
    w = torch.tensor([-2.0, -1.001, -1.0, -0.3, 0.0, 0.6, 1.0, 1.001, 3.0, 0.2], requires_grad=True)
    upstream = torch.arange(1.0, 11.0)
    (gradient,) = torch.autograd.grad(quantizer(w), w, upstream)
    assert gradient.tolist() == [0.0, 0.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.0, 0.0, 10.0]
    assert hb.saturation(w.detach().double()).dtype == torch.float64


def test_bitwise_products_are_the_real_ones_and_cost_one_product_per_bit() -> None:
    w, x = normal(5, 21), torch.where(normal(7, 21, seed=1) >= 0, 1.0, -1.0)
    bits = hb.bit_map(hb.middle_out(w), 1.7)
    products, count = hb.bitwise_dot(x, w, bits)
    assert products.shape == (7, 5)
    assert torch.allclose(products, x @ hb.approximate(w, bits).T, atol=1e-5)
    assert count == 7 * int(bits.sum())
    assert hb.bitwise_dot(x, w, torch.ones_like(bits))[1] == 7 * w.numel()


def test_bitwise_metrics_see_a_wrong_product_and_count_per_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    w = normal(16, 64)
    metrics = hb.bitwise_metrics(w, 3)
    assert 0 <= metrics["bitwise_gap"] < 1e-5
    assert metrics["bit_products_per_weight"] == float(hb.bit_map(hb.middle_out(w), 1.4).double().mean())
    assert metrics["bit_products_per_weight"] == pytest.approx(1.4, abs=1e-3)
    right, seen = hb.bitwise_dot, []

    def wrong(x: Tensor, weight: Tensor, bits: Tensor) -> tuple[Tensor, int]:
        seen.append(x)
        products, count = right(x, weight, bits)
        return 1.5 * products, count

    monkeypatch.setattr(hb, "bitwise_dot", wrong)
    assert hb.bitwise_metrics(w, 3)["bitwise_gap"] == pytest.approx(0.5, rel=1e-4)
    hb.bitwise_metrics(w, 4)
    assert seen[0].shape == (50, 64)
    assert set(seen[0].flatten().tolist()) == {-1.0, 1.0}
    assert torch.equal(seen[0], torch.where(normal(50, 64, seed=3) >= 0, 1.0, -1.0))
    assert not torch.equal(seen[0], seen[1])


def test_relative_error_is_in_percent() -> None:
    assert hb.relative_error(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0])) == pytest.approx(4.0)


def test_approximation_errors_are_those_of_each_key_and_the_best_other() -> None:
    w = normal(300, seed=5)
    errors = hb.approximation_errors(w)
    for name, key in hb.KEYS.items():
        assert errors.pop(f"error_{name}") == hb.relative_error(w, hb.quantize(w, key=key))
    others = [hb.relative_error(w, hb.quantize(w, key=k)) for n, k in hb.KEYS.items() if n != "middle_out"]
    assert errors == {"error_best_other": min(others)}


def layers(network: nn.Module) -> list[QuantLinear]:
    return [part for part in network.modules() if isinstance(part, QuantLinear)]


def test_network_equals_its_layers_written_out() -> None:
    with deterministic(3):
        network = hb.mlp(hb.quantize)
        network(digits().train_x[:50])
    network.eval()
    norms = [part for part in network if isinstance(part, nn.BatchNorm1d)]
    h = digits().test_x[:20].reshape(20, 64)
    for index, (layer, norm) in enumerate(zip(layers(network), norms, strict=True)):
        h = norm((torch.relu(h) if index else h) @ hb.quantize(layer.weight).T)
    assert torch.equal(network(digits().test_x[:20]), h)
    assert [tuple(layer.weight.shape) for layer in layers(network)] == [(16, 64), (16, 16), (10, 16)]


def test_variants_have_the_bits_and_keys_that_their_names_say() -> None:
    variants = hb.variants()
    assert list(variants) == [
        *("uniform_1", "uniform_2", "middle_out_1_2", "middle_out_1_4", "middle_out_1_7"),
        *("random_1_4", "top_down_1_4", "bottom_up_1_4", "full_precision"),
    ]
    assert variants.pop("full_precision") is identity
    w = normal(40, 25)
    for name, quantizer in variants.items():
        kind, *bits = (
            name.replace("middle_out", "middle-out")
            .replace("top_down", "top-down")
            .replace("bottom_up", "bottom-up")
            .split("_")
        )
        if kind == "uniform":
            expected = hb.quantize_uniformly(w, int(bits[0]))
        else:
            expected = hb.quantize(w, float(".".join(bits)), hb.KEYS[kind.replace("-", "_")])
        assert torch.equal(quantizer(w), expected), name


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    data, seen = digits(), []
    tiny = Split(data.train_x[:128], data.train_y[:128], data.test_x, data.test_y)
    trained: list[nn.Module] = []

    def watched(build: Any, seed: int, **how: Any) -> nn.Module:
        seen.append((seed, how))
        trained.append(train(build, seed, **{**how, "epochs": 1, "data": tiny, "batch": 32}))
        return trained[-1]

    monkeypatch.setattr(hb, "train", watched)
    with deterministic(4):
        metrics = hb.reproduce(4)
    assert seen[:-1] == [(4, {"epochs": 8, "batch": 128})] * 9
    assert seen[-1] == (4, {})
    cnn = trained[-1]
    assert isinstance(cnn, SmallCNN)
    assert {part.quantizer for part in cnn.modules() if isinstance(part, QuantConv2d)} == {hb.quantize}
    assert any(isinstance(part, nn.ReLU) for part in cnn.modules())
    named = {claim.metric for claim in hb.CLAIMS} | {
        other for c in hb.CLAIMS if isinstance(other := c.expected if isinstance(c, Exact) else c.baseline, str)
    }
    assert named <= set(metrics)
    assert metrics["in_proportion_1_4"] == pytest.approx(0.6 * metrics["uniform_1"] + 0.4 * metrics["uniform_2"])
    weight = layers(trained[3])[0].weight.detach()
    expected = hb.bitwise_metrics(weight, 4)
    assert {name: metrics[name] for name in expected} == expected
    errors = hb.approximation_errors(normal(4096, seed=4))
    assert {name: metrics[name] for name in errors} == errors
    assert all(0 < metrics[name] <= 100 for name in [*hb.variants(), "cnn_accuracy"])
    assert len(metrics) == 18


@pytest.mark.parametrize("quantizer", hb.QUANTIZERS, ids=lambda q: q.name)
def test_quantizers_are_scale_times_integers_on_all_their_levels(quantizer: Quantizer) -> None:
    x = normal(7, 5, 3)
    integers, scale = quantizer.to_integers(x)
    assert integers.dtype == torch.int64
    assert torch.equal(scale * integers, quantizer.quantize(x))
    drawn = curve(quantizer)
    first = quantizer.name == "weights, bit 1"
    assert len(set(drawn.y)) == (2 if first else 3)
    assert quantizer.bits == (1 if first else 2)
    assert set(drawn.gradient) == ({0.0, 1.0} if first else {0.0})


def test_the_terms_on_offer_add_up_to_the_method_in_value_and_gradient() -> None:
    w = normal(6, 20).requires_grad_()
    whole, terms = hb.quantize(w), [quantizer.quantize(w) for quantizer in hb.QUANTIZERS]
    assert len(terms) == 3
    assert [quantizer.name for quantizer in hb.QUANTIZERS] == ["weights, bit 1", "weights, bit 2", "weights, bit 3"]
    assert torch.allclose(torch.stack(terms).sum(dim=0), whole, atol=1e-6)
    (expected,) = torch.autograd.grad(whole.sum(), w)
    (gradient,) = torch.autograd.grad(torch.stack(terms).sum(), w)
    assert torch.equal(gradient, expected)


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(hb.RECORD))
    with deterministic(0):
        metrics = hb.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
