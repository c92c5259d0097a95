from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from reference_impls.binary import espresso as es
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import QuantConv2d, QuantLinear
from reference_impls.kit.quantizers import Quantizer, curve
from reference_impls.kit.results import read
from reference_impls.kit.train import accuracy, deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)
POINTS = [-3.0, -1.001, -1.0, -0.4, -0.0, 0.0, 0.25, 1.0, 1.001]
UPSTREAM = torch.arange(1.0, len(POINTS) + 1)
LENGTHS = [1, 7, 63, 64, 65, 128, 130]


def gradient(y: Tensor, x: Tensor, upstream: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(y, x, upstream)
    return result


def signs(rng: np.random.Generator, *shape: int) -> es.Integers:
    return rng.choice(np.array([-1, 1], dtype=np.int64), size=shape)


@PROPERTY
@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_packing_is_the_binary_number_with_the_first_bit_lowest_in_words_of_64(bits: list[bool]) -> None:
    words = es.pack(np.array(bits))
    assert words.dtype == np.uint64
    assert len(words) == -(-len(bits) // 64)
    number = sum(int(word) << (64 * index) for index, word in enumerate(words))
    assert number == sum(int(bit) << index for index, bit in enumerate(bits))


def test_packing_works_along_the_last_axis() -> None:
    rng = np.random.default_rng(0)
    bits = rng.random((2, 3, 70)) < 0.5
    words = es.pack(bits)
    assert words.shape == (2, 3, 2)
    np.testing.assert_array_equal(words[1, 2], es.pack(bits[1, 2]))


@PROPERTY
@given(st.lists(st.integers(0, 31), min_size=1, max_size=12))
def test_bit_planes_add_up_to_the_integers(values: list[int]) -> None:
    planes = es.bit_planes(np.array(values), 5)
    assert planes.shape == (5, 1)
    for place, value in enumerate(values):
        assert sum((int(planes[bit, 0]) >> place & 1) << bit for bit in range(5)) == value


@pytest.mark.parametrize(("value", "shown"), [(8, "3..8"), (-1, "-1..3")])
def test_bit_planes_refuse_what_does_not_fit(value: int, shown: str) -> None:
    assert es.bit_planes(np.array([0, 7]), 3).shape == (3, 1)
    with pytest.raises(ValueError, match=rf"^values must lie in 0\.\.7 for 3 bits, got {shown}$"):
        es.bit_planes(np.array([3, value]), 3)


@pytest.mark.parametrize("length", LENGTHS)
def test_both_products_equal_the_integer_product(length: int) -> None:
    rng = np.random.default_rng(length)
    a, b = signs(rng, 2, 5, length), signs(rng, 4, length)
    dots = es.binary_gemm(es.pack(a > 0), es.pack(b > 0), length)
    assert dots.shape == (2, 5, 4)
    assert dots.dtype == np.int64
    np.testing.assert_array_equal(dots, a @ b.T)
    bits = (a > 0).astype(np.int64)
    dots = es.plane_gemm(es.pack(bits == 1), es.pack(b > 0))
    assert dots.dtype == np.int64
    np.testing.assert_array_equal(dots, bits @ b.T)


@pytest.mark.parametrize(("size", "border"), [(1, 0), (3, 0), (3, 7), (5, 2)])
def test_lowering_puts_each_window_in_a_row_pixel_after_pixel(size: int, border: int) -> None:
    rng = np.random.default_rng(size)
    x = rng.integers(0, 100, size=(2, 4, 5, 3))
    rows = es.lower(x, size, border)
    assert rows.shape == (2, 4, 5, size * size * 3)
    by = size // 2
    for n, i, j in np.ndindex(2, 4, 5):
        window = [
            x[n, p, q, k] if 0 <= p < 4 and 0 <= q < 5 else border
            for p in range(i - by, i + by + 1)
            for q in range(j - by, j + by + 1)
            for k in range(3)
        ]
        assert rows[n, i, j].tolist() == window
    np.testing.assert_array_equal(es.lower(x, size), es.lower(x, size, 0))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_the_correction_is_a_convolution_of_what_lies_outside(size: int) -> None:
    rng = np.random.default_rng(size)
    w = signs(rng, 4, size, size, 6)
    by = size // 2
    outside = np.pad(np.zeros((1, 6, 5, 7)), [(0, 0), (0, 0), (by, by), (by, by)], constant_values=1.0)
    expected = conv2d(torch.tensor(outside), torch.tensor(w, dtype=torch.float64).movedim(-1, 1))[0]
    np.testing.assert_array_equal(es.padding_correction(w, 5, 7), expected.movedim(0, -1))


@pytest.mark.parametrize("channels", [1, 3, 64, 70])
def test_packed_convolution_equals_the_float_convolution_with_zeros_outside(channels: int) -> None:
    rng = np.random.default_rng(channels)
    x, w = signs(rng, 2, 5, 6, channels), signs(rng, 4, 3, 3, channels)
    reals, weights = (torch.tensor(part, dtype=torch.float64).movedim(-1, 1) for part in (x, w))
    expected = conv2d(reals, weights, padding=1).movedim(1, -1).numpy()
    sums = es.convolution(es.pack(x > 0), w)
    np.testing.assert_array_equal(sums, expected)
    minus_one_outside = conv2d(pad(reals, (1, 1, 1, 1), value=-1.0), weights).movedim(1, -1)
    np.testing.assert_array_equal(es.convolution(es.pack(x > 0), w, correct=False), minus_one_outside)
    assert not np.array_equal(minus_one_outside.numpy(), expected)


@pytest.mark.parametrize("channels", [1, 3, 20])
def test_first_convolution_equals_the_float_convolution_of_normalised_pixels(channels: int) -> None:
    rng = np.random.default_rng(channels)
    v, w = rng.integers(0, 32, size=(2, 5, 6, channels)), signs(rng, 4, 3, 3, channels)
    reals, weights = (torch.tensor(part, dtype=torch.float64).movedim(-1, 1) for part in (v / 8 - 1, w))
    sums = es.first_convolution(v, w)
    np.testing.assert_array_equal(sums, conv2d(reals, weights, padding=1).movedim(1, -1))


@pytest.mark.parametrize("channels", [1, 16, 65])
def test_packed_dense_layer_equals_the_float_product_of_flattened_tensors(channels: int) -> None:
    rng = np.random.default_rng(channels)
    x, w = signs(rng, 3, 2, 4, channels), signs(rng, 5, 2, 4, channels)
    np.testing.assert_array_equal(es.dense(es.pack(x > 0), w), x.reshape(3, -1) @ w.reshape(5, -1).T)


def test_channels_that_lie_together_fill_few_words() -> None:
    assert es.words_per_window(8, 8, 64, interleaved=True) == 9  # a word a pixel
    assert es.words_per_window(8, 8, 64, interleaved=False) == 64  # a word a channel of 8 x 8 pixels
    assert es.words_per_window(64, 64, 2, interleaved=False) == 2 * 3  # a word a row
    assert es.words_per_window(4, 32, 2, interleaved=False) == 2 * 2  # two rows a word, three rows from an even one on
    assert es.words_per_window(4, 64, 1, interleaved=True) == 3
    assert es.words_per_window(8, 20, 16, interleaved=True) == len(  # counted by hand
        {((i * 20 + j) * 16 + k) // 64 for i in (3, 4, 5) for j in (9, 10, 11) for k in range(16)}
    )


def test_signs_have_the_gradients_of_bnn_and_not_those_of_rounding() -> None:
    x = torch.tensor(POINTS, requires_grad=True)
    levels = [1 if v >= 0 else -1 for v in POINTS]
    weights, activations = es.binarize_weight(x), es.Sign()(x)
    assert weights.tolist() == activations.tolist() == levels
    assert torch.equal(gradient(weights, x, UPSTREAM), UPSTREAM)
    expected = [g if abs(v) <= 1 else 0 for v, g in zip(POINTS, UPSTREAM.tolist(), strict=True)]
    assert gradient(activations, x, UPSTREAM).tolist() == expected


def test_channels_last_is_the_order_of_espresso() -> None:
    x = torch.arange(24).reshape(1, 2, 3, 4)
    assert es.channels_last(x).shape == (1, 3, 4, 2)
    assert es.channels_last(x)[0, 1, 2].tolist() == [6, 18]
    assert es.channels_last(torch.zeros(5, 7)).shape == (5, 7)


def test_the_toy_network_is_all_binary_and_starts_spread_over_the_whole_range() -> None:
    with deterministic(0):
        network = es.toy_network()
    kinds = [type(part).__name__ for part in network]
    assert kinds == [
        *["QuantConv2d", "BatchNorm2d", "Sign"],
        *["QuantConv2d", "MaxPool2d", "BatchNorm2d", "Sign"],
        *["Flatten", "QuantLinear", "BatchNorm1d"],
    ]
    shapes = [tuple(w.shape) for w in es.latent_weights(network)]
    assert shapes == [(8, 1, 3, 3), (16, 8, 3, 3), (10, 256)]
    quantizers = {part.quantizer for part in network if isinstance(part, QuantConv2d | QuantLinear)}
    assert quantizers == {es.binarize_weight}
    for w in es.latent_weights(network):
        assert 0.9 < float(w.detach().max()) <= 1
        assert -1 <= float(w.detach().min()) < -0.9
    assert network(digits().test_x[:3]).shape == (3, 10)


def test_clipping_touches_only_what_lies_outside() -> None:
    network = es.toy_network()
    first, *_, last = es.latent_weights(network)
    first.data[0, 0, 0] = torch.tensor([-3.0, 0.5, 1.5])
    last.data[1, 2] = -7.0
    before = first.detach().clone()
    es.clip_weights(network, 1, 2)
    assert first[0, 0, 0].tolist() == [-1.0, 0.5, 1.0]
    assert torch.equal(first[1:], before[1:])
    assert float(last.detach()[1, 2]) == -1


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    with deterministic(5):
        built = es.toy_network()
        for _ in range(5):
            built(digits().train_x[:200])
    return built.eval()


def test_running_on_words_is_the_network_bit_for_bit(network: nn.Sequential) -> None:
    x = digits().test_x[:100]
    with torch.no_grad():
        logits, wrong = es.run_packed(network, x)
        assert wrong == [0, 0, 0]
        assert torch.equal(logits, network(x))


def test_running_without_the_correction_is_wrong_in_the_hidden_convolution_only(network: nn.Sequential) -> None:
    x = digits().test_x[:100]
    with torch.no_grad():
        logits, wrong = es.run_packed(network, x, correct=False)
        assert not torch.equal(logits, network(x))
    border, outputs = 28, 100 * 16
    assert wrong[0] == wrong[2] == 0
    assert 0.5 * border * outputs < wrong[1] <= border * outputs


def test_running_on_words_counts_every_sum_that_differs(
    network: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = es.ones
    monkeypatch.setattr(es, "ones", lambda words: right(words) + 1)
    with torch.no_grad():
        _, wrong = es.run_packed(network, digits().test_x[:2])
    assert wrong == [0, 2 * 16 * 64, 2 * 10]  # in the first layer the two counts cancel


def test_memory_saving_counts_bytes() -> None:
    assert es.memory_saving(2, 3, 64) == 32
    assert es.memory_saving(2, 3, 16) == 8  # 48 bits of each word are spare
    assert es.memory_saving(65) == 65 * 4 / 16


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, object]] = []
    kept: list[nn.Module] = []

    def watched(build: object, seed: int, **how: object) -> nn.Module:
        seen.append({"build": build, "seed": seed, **how})
        kept.append(train(es.toy_network, seed, epochs=1))
        return kept[0]

    def two_wrong(network: nn.Sequential, x: Tensor, *, correct: bool = True) -> tuple[Tensor, list[int]]:
        logits, wrong = right(network, x, correct=correct)
        return logits, [wrong[0] + 2, *wrong[1:]]

    right = es.run_packed
    monkeypatch.setattr(es, "train", watched)
    monkeypatch.setattr(es, "run_packed", two_wrong)
    metrics = es.reproduce(3)
    assert seen == [{"build": es.toy_network, "seed": 3, "after_step": es.clip_weights}]
    named = {name for claim in es.CLAIMS for name in (claim.metric, *_baseline(claim))}
    assert named == set(metrics)
    assert metrics["float_accuracy"] == metrics["packed_accuracy"] == accuracy(kept[0])
    assert metrics["first_layer_differences"] == metrics["packed_differences"] == 2
    with torch.no_grad():
        _, wrong = right(cast("nn.Sequential", kept[0]), digits().test_x, correct=False)
    assert metrics["uncorrected_differences"] == sum(wrong) + 2
    assert metrics["weight_saving"] == metrics["activation_saving"] == 32
    assert metrics["products_per_word"] == 64
    assert metrics["words_per_window"] == 9 * 2
    assert metrics["words_per_window_in_planes"] == 128 * 2


def _baseline(claim: object) -> list[str]:
    named = claim.expected if isinstance(claim, Exact) else getattr(claim, "baseline", None)
    return [named] if isinstance(named, str) else []


@pytest.mark.parametrize("quantizer", es.QUANTIZERS, ids=lambda q: q.name)
def test_quantizers_are_scale_times_integers_on_two_levels(quantizer: Quantizer) -> None:
    x = torch.randn(7, 5, 3)
    integers, scale = quantizer.to_integers(x)
    assert integers.dtype == torch.int64
    assert scale.dtype == x.dtype
    assert quantizer.to_integers(x.double())[1].dtype == torch.float64
    assert torch.equal(scale * integers, quantizer.quantize(x))
    drawn = curve(quantizer)
    assert (drawn.bits, set(drawn.y)) == (1, {-1.0, 1.0})
    assert (0.0 in drawn.gradient) == (quantizer.name == "activations")
    assert [q.name for q in es.QUANTIZERS] == ["weights", "activations"]


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(es.RECORD))
    with deterministic(0):
        metrics = es.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    assert metrics["packed_accuracy"] == pytest.approx(accepted.metrics["packed_accuracy"][0], abs=3)
    exact = metrics.keys() - {"float_accuracy", "packed_accuracy", "uncorrected_differences"}
    assert {name: metrics[name] for name in exact} == {name: accepted.metrics[name][0] for name in exact}
