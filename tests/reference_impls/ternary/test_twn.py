from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import SmallCNN
from reference_impls.kit.quantizers import curve
from reference_impls.kit.results import read
from reference_impls.kit.train import accuracy, deterministic
from reference_impls.ternary import twn

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)
ROWS = st.lists(st.floats(-4, 4, width=32), min_size=7, max_size=7)


def weights(seed: int = 0, shape: tuple[int, ...] = (3, 2, 3, 3)) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def error(row: Tensor, delta: float) -> float:
    """The squared distance at a threshold, the scale by least squares."""
    signs = np.sign(row.double().numpy()) * (row.abs().numpy() > delta)
    if not signs.any():
        return float((row.double() ** 2).sum())
    ((alpha,), *_) = np.linalg.lstsq(signs[:, None], row.double().numpy(), rcond=None)
    return float(((row.double().numpy() - alpha * signs) ** 2).sum())


def test_worked_example_differs_from_signs_and_from_rounding() -> None:
    w = torch.tensor([[[[1.0, -0.2, 0.45], [0.0, -1.4, 0.55]]]])  # mean magnitude 0.6, threshold 0.42
    integers, alpha = twn.to_integers(w)
    assert integers.tolist() == [[[[1, 0, 1], [0, -1, 1]]]]
    assert alpha.shape == (1, 1, 1, 1)
    assert float(alpha) == pytest.approx(0.85)  # (1 + 0.45 + 1.4 + 0.55) / 4
    assert twn.quantize_weight(w).flatten().tolist() == pytest.approx([0.85, 0, 0.85, 0, -0.85, 0.85])


def test_gradient_passes_whole_to_zeros_and_to_large_weights() -> None:
    w = torch.tensor([[5.0, -0.01, 0.0, -1.0]], requires_grad=True)
    upstream = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    (gradient,) = torch.autograd.grad(twn.quantize_weight(w), w, upstream)
    assert torch.equal(gradient, upstream)


def test_threshold_is_seven_tenths_of_each_rows_mean_magnitude() -> None:
    w = torch.tensor([[1.0, -3.0], [0.0, 0.5]])
    assert twn.threshold(w).flatten().tolist() == pytest.approx([1.4, 0.175])
    assert twn.threshold(w, 0.75).flatten().tolist() == pytest.approx([1.5, 0.1875])
    assert twn.threshold(w).shape == (2, 1)


def test_weights_at_the_threshold_become_zero() -> None:
    delta = torch.tensor([[0.5]])
    w = torch.tensor([[0.5, -0.5, 0.5001, -0.5001, 0.0]])
    assert twn.ternary(w, delta).tolist() == [[0, 0, 1, -1, 0]]
    assert float(twn.scale(w, delta)) == pytest.approx(0.5001)


@PROPERTY
@given(ROWS, st.floats(0, 4, width=32))
def test_scale_is_the_least_squares_solution(values: list[float], delta: float) -> None:
    row = torch.tensor(values)
    d = torch.tensor([[delta]])
    quantized = twn.scale(row[None], d) * twn.ternary(row[None], d)
    assert float((row - quantized).square().sum()) == pytest.approx(error(row, delta), abs=1e-3)


@PROPERTY
@given(ROWS)
def test_best_threshold_beats_every_ternary_pattern(values: list[float]) -> None:
    row = torch.tensor(values)
    best = error(row, float(twn.best_threshold(row[None])))
    patterns = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=len(values))))
    projections = patterns @ row.double().numpy()
    explained = np.where(projections > 0, projections**2 / np.maximum(np.abs(patterns).sum(axis=1), 1), 0)
    assert best <= float((row.double() ** 2).sum()) - explained.max() + 1e-3


def test_best_threshold_is_the_largest_magnitude_left_out_row_by_row() -> None:
    w = torch.tensor([[3.0, -2.9, 0.2, 0.1], [1.0, 1.0, -1.0, 1.0], [0.1, 0.2, -5.0, 0.0]])
    assert twn.best_threshold(w).flatten().tolist() == pytest.approx([0.2, 0.0, 0.2])
    assert twn.best_threshold(w).shape == (3, 1)
    assert twn.ternary(w, twn.best_threshold(w)).tolist() == [[1, -1, 0, 0], [1, 1, -1, 1], [0, 0, -1, 0]]


def test_rule_is_close_to_the_best_threshold_and_binary_is_not() -> None:
    w = weights(1, (1, 4000))
    rule, best, binary = (
        twn.distance(w, twn.quantize_weight(w, r)) for r in (twn.threshold, twn.best_threshold, twn.zero_threshold)
    )
    assert best <= rule < 1.01 * best
    assert binary > 1.5 * rule
    assert binary == pytest.approx(100 * (1 - 2 / math.pi), rel=0.05)  # of a normal distribution


@PROPERTY
@given(ROWS, st.sampled_from([0.25, 0.5, 2.0, 16.0]))
def test_quantization_is_odd_and_scale_equivariant(values: list[float], factor: float) -> None:
    w = torch.tensor([values])
    once = twn.quantize_weight(w)
    assert torch.equal(twn.quantize_weight(-w), -once)
    assert torch.allclose(twn.quantize_weight(factor * w), factor * once, rtol=1e-6)


@PROPERTY
@given(ROWS)
def test_ternary_weights_are_left_as_they_are(values: list[float]) -> None:
    once = twn.quantize_weight(torch.tensor([values]))
    assert len(set(once.abs().flatten().tolist()) - {0.0}) <= 1
    assert torch.allclose(twn.quantize_weight(once), once, rtol=1e-5)


def test_zeros_stay_zeros() -> None:
    w = torch.zeros(2, 3)
    assert torch.equal(twn.quantize_weight(w), w)
    assert torch.equal(twn.quantize_weight(w, twn.best_threshold), w)
    assert float(twn.scale(w, torch.zeros(2, 1)).sum()) == 0


def test_one_scale_for_the_layer_or_one_for_each_filter() -> None:
    w = weights(2)
    w[1] *= 10
    layer, one = twn.to_integers(w)
    filters, many = twn.to_integers(w, per_filter=True)
    assert one.shape == (1, 1, 1, 1)
    assert many.shape == (3, 1, 1, 1)
    assert layer.shape == filters.shape == w.shape
    for row, integers, alpha in zip(w, filters, many, strict=True):
        alone, scale = twn.to_integers(row)
        assert torch.equal(integers, alone)
        assert float(alpha) == pytest.approx(float(scale))
    assert int(layer[0].abs().sum()) < int(filters[0].abs().sum())  # the large filter drowns the others
    assert torch.equal(twn.quantize_weight(w), one * layer)
    assert torch.equal(twn.quantize_weight(w, per_filter=True), many * filters)
    other, _ = twn.to_integers(w, twn.zero_threshold)
    assert bool((other != 0).all())


def test_binary_counterpart_is_signs_times_the_mean_magnitude() -> None:
    w = weights(3)
    quantized = twn.quantize_weight(w, twn.zero_threshold)
    assert torch.allclose(quantized, torch.sign(w) * w.abs().mean())
    assert twn.zero_threshold(torch.ones(4, 5)).tolist() == [[0.0]] * 4


def test_packing_takes_two_bits_and_keeps_all() -> None:
    integers = torch.tensor([[1, 0, -1, 1], [0, -1, -1, 1]])
    packed = twn.pack_ternary(integers)
    bits = np.unpackbits(np.frombuffer(packed, np.uint8)).reshape(2, 8)
    assert len(packed) == 2
    assert bits[0].tolist() == (integers != 0).int().flatten().tolist()
    assert bits[1].tolist() == (integers > 0).int().flatten().tolist()
    assert (bits[0].astype(int) * (2 * bits[1].astype(int) - 1)).tolist() == integers.flatten().tolist()


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_quantizer_keeps_every_ternary_pattern_apart(size: int) -> None:
    assert twn.templates(size) == 3**size


def test_templates_of_a_3x3_filter() -> None:
    assert twn.templates() == 3**9


def test_thresholds_of_the_two_distributions() -> None:
    even, normal = twn.even_weights(), twn.normal_weights()
    assert even.dtype == normal.dtype == torch.float64
    assert even.shape == normal.shape == (1, 20001)
    assert (float(even.min()), float(even.max())) == (-1, 1)
    assert float(even.abs().mean()) == pytest.approx(0.5, abs=1e-3)
    assert float(normal.mean()) == pytest.approx(0, abs=1e-9)
    assert float(normal.square().mean()) == pytest.approx(1, abs=1e-3)
    assert float((normal < 1).double().mean()) == pytest.approx(0.8413, abs=1e-4)
    assert float(twn.best_threshold(even)) == pytest.approx(1 / 3, abs=1e-3)
    grid = np.linspace(0.3, 0.9, 601)  # max over d of (2 phi(d))^2 / (2 Q(d)), from the density itself
    density = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi)
    tail = np.array([0.5 * math.erfc(d / math.sqrt(2)) for d in grid])
    assert float(twn.best_threshold(normal)) == pytest.approx(float(grid[(density**2 / tail).argmax()]), abs=2e-3)


def test_distances_are_percent_of_the_weights_and_searching_scales_finds_the_best() -> None:
    w = torch.tensor([[3.0, 4.0]])
    assert twn.distance(w, torch.tensor([[3.0, 0.0]])) == pytest.approx(64)
    assert twn.searched_distance(w, steps=2) == pytest.approx(100 * 1 / 25)  # scales 0, 2 and 4: (3 - 4)^2
    near = torch.tensor([[1.2, 1.2, -1.2, 2.4]])  # scales 0, 1.2 and 2.4, of which 1.2 is nearest to the best, 1.5
    assert twn.searched_distance(near, steps=2) == pytest.approx(100 * 1.44 / 10.08)
    v = weights(4)
    assert twn.searched_distance(v) == pytest.approx(twn.distance(v, twn.quantize_weight(v)), abs=1e-3)
    assert twn.searched_distance(v) >= twn.distance(v, twn.quantize_weight(v)) - 1e-4


def quantizer_of(network: SmallCNN) -> list[Callable[[Tensor], Tensor]]:
    return [block[1].quantizer for block in network.blocks]  # type: ignore[index]


def test_variants_quantize_as_their_names_say() -> None:
    w = weights(5)
    expected = {
        "twn": twn.quantize_weight(w),
        "exact_threshold": twn.quantize_weight(w, twn.best_threshold),
        "binary": torch.sign(w) * w.abs().mean(),
        "full_precision": w,
        "twn_wide": twn.quantize_weight(w),
        "full_precision_wide": w,
    }
    built = {name: build() for name, build in twn.variants().items()}
    assert built.keys() == expected.keys()
    for name, network in built.items():
        for quantize in quantizer_of(network):
            assert torch.allclose(quantize(w), expected[name])
        width = 6 if name.endswith("wide") else 4
        assert twn.inner_weight(network).shape == (width, width, 3, 3)
        assert not twn.inner_weight(network).requires_grad
    assert not torch.equal(expected["exact_threshold"], expected["twn"])


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[SmallCNN] = []

    def untrained(build: Callable[[], SmallCNN], seed: int, *, epochs: int) -> nn.Module:
        assert (seed, epochs) == (3, 5)
        with deterministic(seed):
            built.append(build())
            built[-1](digits().train_x)  # sets the running statistics
        return built[-1].eval()

    monkeypatch.setattr(twn, "EPOCHS", 5)
    monkeypatch.setattr(twn, "train", untrained)
    with deterministic(3):
        metrics = twn.reproduce(3)
        score = dict(zip(twn.variants(), [accuracy(network) for network in built], strict=True))
    assert {name: metrics[name] for name in score} == score
    assert metrics["gap_to_binary"] == score["twn"] - score["binary"]
    assert metrics["gap_to_full_precision"] == score["full_precision"] - score["twn"]
    assert metrics["wide_gap_to_full_precision"] == score["full_precision_wide"] - score["twn_wide"]
    others = [claim.expected if isinstance(claim, Exact) else claim.baseline for claim in twn.CLAIMS]
    assert {claim.metric for claim in twn.CLAIMS} <= set(metrics)
    assert {name for name in others if isinstance(name, str)} <= set(metrics)
    w = twn.inner_weight(built[3])
    assert metrics["rule_distance"] == twn.distance(w, twn.quantize_weight(w))
    assert metrics["best_distance"] == twn.distance(w, twn.quantize_weight(w, twn.best_threshold))
    assert metrics["binary_distance"] == pytest.approx(twn.distance(w, w.sign() * w.abs().mean()), rel=1e-5)
    assert metrics["best_distance"] <= metrics["rule_distance"] < metrics["binary_distance"]
    assert metrics["searched_scale_distance"] == twn.searched_distance(w)
    assert metrics["uniform_threshold"] == pytest.approx(2 / 3, abs=1e-3)
    assert metrics["normal_threshold"] == pytest.approx(0.612, abs=1e-3)
    assert (metrics["templates"], metrics["memory_saving"]) == (19683, 16)


def test_quantizer_is_scale_times_integers_on_three_levels() -> None:
    (quantizer,) = twn.QUANTIZERS
    w = weights(6)
    integers, scale = quantizer.to_integers(w)
    assert integers.dtype == torch.int64
    assert torch.equal(scale * integers, quantizer.quantize(w))
    drawn = curve(quantizer)
    assert drawn.bits == 2
    assert len(set(drawn.y)) == 3
    assert set(drawn.gradient) == {1.0}
    zero = [x for x, y in zip(drawn.x, drawn.y, strict=True) if y == 0]
    assert max(zero) == pytest.approx(0.7 * 0.75, abs=0.02)  # 0.7 of the mean magnitude of an even [-1.5, 1.5]


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(twn.RECORD))
    with deterministic(0):
        metrics = twn.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
    assert (metrics["templates"], metrics["memory_saving"]) == (19683, 16)
