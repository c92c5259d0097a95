"""QSGD against enumeration over its random numbers, the published codewords and hand-worked messages."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy, relu

from reference_impls.gradients import qsgd
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.data import digits
from reference_impls.kit.results import read

# Elias (1975) through any table of the omega code.
OMEGA = {
    1: "0",
    2: "100",
    3: "110",
    4: "101000",
    7: "101110",
    8: "1110000",
    15: "1111110",
    16: "10100100000",
    17: "10100100010",
    100: "1011011001000",
    1000: "11100111111010000",
}
finite = st.integers(-4000, 4000).map(lambda k: k / 32)  # exact in float32; squares neither vanish nor overflow
rows = st.lists(finite, min_size=1, max_size=8)


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def mean_over_randomness(v: Tensor, s: int, points: int, norm: float) -> Tensor:
    uniform = ((torch.arange(points) + 0.5) / points)[:, None]
    integers, unit = qsgd.round_with(v, s, uniform, norm)
    return (integers.double() * unit.double()).mean(dim=0)


def test_a_worked_example() -> None:
    v = torch.tensor([3.0, -4.0, 0.0])  # norm 5; places for s = 2: 1.2, 1.6, 0
    for uniform, expected in ((0.0, [2, -2, 0]), (0.19, [2, -2, 0]), (0.3, [1, -2, 0]), (0.61, [1, -1, 0])):
        integers, unit = qsgd.round_with(v, 2, torch.full((3,), uniform))
        assert integers.tolist() == expected
        assert integers.dtype == torch.int64
        assert unit.tolist() == [2.5]


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(1, 9), st.integers(0, 15), st.sampled_from([2.0, math.inf]))
def test_levels_are_those_of_the_formula_in_exact_arithmetic(row: list[float], s: int, u: int, norm: float) -> None:
    v = torch.tensor(row)
    integers, unit = qsgd.round_with(v, s, torch.tensor(u / 16), norm)
    length = Fraction(max(map(abs, row))) if norm == math.inf else Fraction(math.hypot(*row))
    assert float(unit) == pytest.approx(float(length) / s, rel=1e-5, abs=1e-37)
    for got, x in zip(integers.tolist(), row, strict=True):
        place = Fraction(0) if length == 0 else abs(Fraction(x)) * s / length
        lower = math.floor(place)
        if abs((place - lower) - Fraction(u, 16)) < Fraction(1, 10**5) or abs(place - round(place)) < Fraction(
            1, 10**5
        ):
            assert abs(got) in (lower - 1, lower, lower + 1)  # float arithmetic may fall on either side
        else:
            assert got == (1 if x > 0 else -1) * (lower + (Fraction(u, 16) < place - lower))


@pytest.mark.parametrize("norm", [2.0, math.inf])
@pytest.mark.parametrize("s", [1, 2, 7])
def test_the_mean_over_the_random_numbers_is_v_which_plain_rounding_misses(s: int, norm: float) -> None:
    v = torch.randn(40, generator=seeded())
    unit = float(v.norm() if norm == 2 else v.abs().max()) / s
    bias = (mean_over_randomness(v, s, 1000, norm) - v).abs().max() / unit
    assert bias < 1 / 2000 + 1e-5
    plain, _ = qsgd.round_with(v, s, torch.tensor(0.5), norm)
    assert (plain * unit - v).abs().max() / unit > 0.3


def test_a_random_number_of_one_half_rounds_to_the_nearest_level() -> None:
    v = torch.randn(200, generator=seeded())
    integers, unit = qsgd.round_with(v, 7, torch.tensor(0.5), math.inf)
    assert torch.equal(integers, torch.round(v / unit).to(torch.int64))


def test_all_15_levels_of_4_bits_are_walked_and_none_beyond() -> None:
    v = torch.linspace(-1, 1, 501)
    integers, _ = qsgd.round_with(v, 7, torch.rand(501, generator=seeded()), math.inf)
    assert torch.unique(integers).tolist() == list(range(-7, 8))


@settings(max_examples=50, deadline=None)
@given(rows, st.integers(1, 8), st.floats(0, 0.999))
def test_error_is_under_one_unit_and_signs_and_scale_carry_over(row: list[float], s: int, u: float) -> None:
    v, uniform = torch.tensor(row), torch.tensor(u)
    integers, unit = qsgd.round_with(v, s, uniform)
    assert (integers * unit - v).abs().max() <= unit * 1.0001
    assert integers.abs().max() <= s
    assert torch.equal(qsgd.round_with(-v, s, uniform)[0], -integers)
    assert torch.equal(qsgd.round_with(4 * v, s, uniform)[0], integers) or v.abs().max() < 1e-30


def test_vectors_lie_along_the_last_axis_and_a_zero_vector_stays_zero() -> None:
    v = torch.tensor([[3.0, 4.0], [0.0, 0.0], [-6.0, 8.0]])
    integers, unit = qsgd.round_with(v, 5, torch.tensor(0.5))
    assert integers.tolist() == [[3, 4], [0, 0], [-3, 4]]
    assert unit.tolist() == [[1.0], [0.0], [2.0]]


@pytest.mark.parametrize(("s", "entry"), [(0, 1.0), (-3, 1.0), (2, math.inf), (2, math.nan)])
def test_no_level_and_no_number_are_refused(s: int, entry: float) -> None:
    with pytest.raises(ValueError, match=f"at least one level, got {s}, and entries that are all finite"):
        qsgd.round_with(torch.tensor([1.0, entry]), s, torch.tensor(0.5))


def test_bounds_are_the_papers() -> None:
    assert qsgd.paper_bounds(512, 16)[0] == pytest.approx(1.41, abs=0.005)  # the example of Sec. 4
    assert qsgd.paper_bounds(100, 20) == pytest.approx((0.25, 600, (3 + 1.5 * math.log2(1000 / 600)) * 600 + 32))
    assert qsgd.paper_bounds(100, 10) == (1.0, 200, 4.5 * 200 + 32)
    assert qsgd.paper_bounds(64, 1)[:2] == (8.0, 9.0)


@pytest.mark.parametrize(("k", "code"), OMEGA.items())
def test_elias_codes_are_the_published_ones(k: int, code: str) -> None:
    assert qsgd.elias(k) == code
    assert qsgd.read_elias("1" + code + "1", 1) == (k, 1 + len(code))


def test_elias_codes_tell_where_they_end() -> None:
    codes = [qsgd.elias(k) for k in range(1, 600)]
    joined, at = "".join(codes), 0
    for k in range(1, 600):
        found, at = qsgd.read_elias(joined, at)
        assert found == k
    assert at == len(joined)
    assert sum(2.0 ** -len(code) for code in codes) <= 1


@pytest.mark.parametrize("bits", ["", "1", "10", "101", "10100"])
def test_a_code_cut_short_is_refused(bits: str) -> None:
    with pytest.raises(ValueError, match="the message ends within a number"):
        qsgd.read_elias(bits, 0)


def test_a_message_by_hand() -> None:
    integers = torch.tensor([0, 2, 0, 0, -1])
    header = "00111111110000000000000000000000"  # 1.5 in IEEE 754
    message = header + "100" + "0" + "100" + "110" + "1" + "0"
    assert qsgd.encode(integers, 1.5) == message
    decoded, unit = qsgd.decode(message, 5)
    assert decoded.tolist() == integers.tolist()
    assert unit == 1.5
    assert qsgd.encode_dense(integers, 1.5) == header + "0" + "110" + "0" + "0" + "0" + "100" + "1"
    assert qsgd.encode(torch.zeros(3, dtype=torch.int64), 1.5) == header


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-40, 40) | st.just(0), min_size=1, max_size=60), st.floats(0, 1e6, width=32))
def test_decoding_gives_back_what_was_encoded(levels: list[int], unit: float) -> None:
    decoded, sent = qsgd.decode(qsgd.encode(torch.tensor(levels), unit), len(levels))
    assert decoded.tolist() == levels
    assert decoded.dtype == torch.int64
    assert sent == unit


def test_what_is_no_message_is_refused() -> None:
    message = qsgd.encode(torch.tensor([0, 0, 1]), 1.0)
    with pytest.raises(ValueError, match="starts with 32 bits for its unit"):
        qsgd.decode(message[:31], 3)
    with pytest.raises(ValueError, match="the message names coordinate 3 of 2"):
        qsgd.decode(message, 2)
    with pytest.raises(ValueError, match="the message ends within a number"):
        qsgd.decode(message[:-1], 3)
    assert qsgd.decode(message[:32], 2)[0].tolist() == [0, 0]


def test_first_parameters_are_scaled_by_their_inputs() -> None:
    torch.manual_seed(0)
    w1, b1, w2, b2 = torch.split(qsgd.start(), [2048, 32, 320, 10])
    assert float(w1.std()) == pytest.approx(math.sqrt(2 / 64), rel=0.05)
    assert float(w2.std()) == pytest.approx(math.sqrt(2 / 32), rel=0.12)
    assert not b1.any()
    assert not b2.any()


def perceptron(parameters: Tensor, x: Tensor) -> NDArray[np.float32]:
    w1, b1, w2, b2 = np.split(parameters.numpy(), [2048, 2080, 2400])
    outputs: NDArray[np.float32] = np.maximum(x.numpy() @ w1.reshape(64, 32) + b1, 0) @ w2.reshape(32, 10) + b2
    return outputs


def test_each_worker_has_its_own_perceptron() -> None:
    parameters, x = torch.randn(3, 2410, generator=seeded()), torch.randn(3, 5, 64, generator=seeded(1))
    outputs = qsgd.logits(parameters, x)
    for k in range(3):
        np.testing.assert_allclose(outputs[k], perceptron(parameters[k], x[k]), rtol=2e-4, atol=2e-3)


def test_worker_gradients_are_those_of_the_mean_loss_on_each_batch() -> None:
    torch.manual_seed(1)
    parameters = qsgd.start()
    chosen = torch.tensor([[3, 14, 15], [92, 65, 35]])
    gradients = qsgd.worker_gradients(parameters, chosen)
    assert gradients.shape == (2, 2410)
    for k in range(2):
        leaf = parameters.clone().requires_grad_()
        w1, b1, w2, b2 = torch.split(leaf, [2048, 32, 320, 10])
        hidden = relu(digits().train_x[chosen[k]].flatten(1) @ w1.reshape(64, 32) + b1)
        loss = cross_entropy(hidden @ w2.reshape(32, 10) + b2, digits().train_y[chosen[k]])
        (expected,) = torch.autograd.grad(loss, leaf)
        torch.testing.assert_close(gradients[k], expected)


def test_gradients_are_sent_in_buckets_with_a_unit_each() -> None:
    gradients = torch.tensor([[1.0, -0.3, 0.1, 0.6, 10.0], [0.0, 4.0, 0.0, 0.0, -0.5]])
    received, integers, units = qsgd.send(gradients, (2, 3, True), seeded())
    assert integers.tolist() == [[2, -1, 0], [0, 2, 0], [0, 2, 0], [0, -2, 0]]
    assert units.tolist() == [0.5, 5.0, 2.0, 0.25]
    assert received.tolist() == [[1.0, -0.5, 0.0, 0.0, 10.0], [0.0, 4.0, 0.0, 0.0, -0.5]]


def test_sending_is_random_unbiased_and_repeatable() -> None:
    gradients = torch.randn(2, 10, generator=seeded())
    received = [qsgd.send(gradients, (1, 5, False), seeded(seed))[0] for seed in range(2000)]
    assert torch.equal(received[7], qsgd.send(gradients, (1, 5, False), seeded(7))[0])
    assert not torch.equal(received[7], received[8])
    spread = torch.stack(received).std(dim=0) / math.sqrt(2000)
    assert ((torch.stack(received).mean(dim=0) - gradients).abs() <= 5 * spread + 1e-6).all()


def test_ways_of_sending_are_those_of_the_metrics() -> None:
    assert qsgd.VARIANTS["full_precision"] is None
    assert qsgd.VARIANTS["qsgd_4bit"] == (7, 512, False)
    assert qsgd.VARIANTS["qsgd_2bit"] == (1, 64, False)
    assert qsgd.VARIANTS["nearest_2bit"] == (1, 64, True)


def test_full_precision_training_is_plain_stochastic_gradient_descent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qsgd, "EPOCHS", 2)
    data = digits()
    torch.manual_seed(5)
    parameters = qsgd.start()
    order = torch.cat([torch.randperm(1200)[:1152] for _ in range(2)])
    for step in range(36):
        leaf = parameters.clone().requires_grad_()
        chosen = order[64 * step : 64 * step + 64]
        loss = cross_entropy(qsgd.logits(leaf[None], data.train_x[chosen].flatten(1)[None])[0], data.train_y[chosen])
        (gradient,) = torch.autograd.grad(loss, leaf)
        parameters = parameters - 0.8 * (1 - step / 36) * gradient
    guesses = perceptron(parameters, data.test_x.flatten(1)).argmax(axis=1)
    accuracy, bits = qsgd.train(None, 5)
    assert accuracy == pytest.approx(100 * np.mean(guesses == data.test_y.numpy()), abs=0.2)
    assert bits == 32.0


def test_training_sends_through_the_quantizer_and_counts_the_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qsgd, "EPOCHS", 2)
    calls: list[tuple[object, int]] = []

    def fake(gradients: Tensor, variant: object, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        calls.append((variant, generator.initial_seed()))
        level = {1: 1, 19: 2}.get(len(calls), 9)  # messages of 32 + 1 + 1 + 1 bits, then of 32 + 1 + 1 + 3
        return torch.zeros_like(gradients), torch.tensor([[level, 0]] * 8), torch.ones(8)

    monkeypatch.setattr(qsgd, "send", fake)
    accuracy, bits = qsgd.train((1, 64, False), 3)
    assert calls == [((1, 64, False), 3)] * 36
    assert bits == pytest.approx((8 * 35 + 8 * 37) / 2 / (4 * 2410))
    torch.manual_seed(3)
    untrained = perceptron(qsgd.start(), digits().test_x.flatten(1)).argmax(axis=1)
    assert accuracy == pytest.approx(100 * np.mean(untrained == digits().test_y.numpy()), abs=0.2)


def test_moments_of_equal_magnitudes_are_known_in_closed_form() -> None:
    bias, variance, nonzeros = qsgd.moments(3 * torch.ones(64), 1)  # places 1/8: p (1 - p) n = 7, bound 8
    assert bias == pytest.approx(0, abs=1e-6)
    assert variance == pytest.approx(7 / 8)
    assert nonzeros == pytest.approx(8 / 9)
    bias, variance, nonzeros = qsgd.moments(torch.ones(100), 30)  # places 3: nothing is random
    assert bias == pytest.approx(0, abs=1e-6)
    assert variance == pytest.approx(0, abs=1e-9)
    assert nonzeros == pytest.approx(100 / (30 * 40))


def test_moments_see_a_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = qsgd.round_with

    def plain(v: Tensor, s: int, uniform: Tensor, norm: float = 2.0) -> tuple[Tensor, Tensor]:
        return exact(v, s, torch.full_like(uniform, 0.5), norm)

    monkeypatch.setattr(qsgd, "round_with", plain)
    assert qsgd.moments(torch.tensor([1.0, -1.0]), 1)[0] == pytest.approx(1 - math.sqrt(0.5))  # each goes to a level
    bias, variance, nonzeros = qsgd.moments(torch.ones(64), 1)
    assert bias == pytest.approx(1 / 8)
    assert nonzeros == 0
    assert variance == pytest.approx(1 / 8)  # the error is the vector itself


def test_bounds_take_the_worst_vector_and_the_mean_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qsgd, "N", 64)
    monkeypatch.setattr(qsgd, "DRAWS", 400)
    monkeypatch.setattr(qsgd, "GRID", 64)
    metrics = qsgd.bounds(0)
    assert metrics.keys() == {
        *("bias", "variance_to_bound", "nonzeros_to_bound", "code_to_bound"),
        *("dense_gradient", "dense_normal", "dense_flat", "dense_worst"),
    }
    assert 0 < metrics["bias"] <= 1 / 128 + 1e-5
    assert metrics["variance_to_bound"] == pytest.approx(7 / 8)  # equal magnitudes, s = 1
    assert metrics["nonzeros_to_bound"] == pytest.approx(8 / 9)
    assert metrics["dense_flat"] == metrics["dense_worst"] == 4.0
    assert 2.6 < metrics["dense_normal"] < 3.2
    # Equal magnitudes, s = 2: a geometric gap with chance 1/4, a sign and level 1, in 64 coordinates.
    gap = sum(0.25 * 0.75 ** (k - 1) * len(qsgd.elias(k)) for k in range(1, 200))
    expected = (32 + 16 * (gap + 2)) / qsgd.paper_bounds(64, 2)[2]
    assert metrics["code_to_bound"] == pytest.approx(expected, rel=0.05)
    assert metrics == qsgd.bounds(0)
    assert metrics != qsgd.bounds(1)


def test_bounds_try_a_part_of_a_first_gradient_on_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qsgd, "N", 16)
    monkeypatch.setattr(qsgd, "DRAWS", 2)
    seen: list[tuple[Tensor, int]] = []

    def fake(v: Tensor, s: int) -> tuple[float, float, float]:
        seen.append((v, s))
        return 0.0, 0.1 * s, float(v.sum())

    monkeypatch.setattr(qsgd, "moments", fake)
    metrics = qsgd.bounds(4)
    assert [s for _, s in seen] == [1, 2, 7, 4] * 3
    torch.manual_seed(4)
    gradient = qsgd.worker_gradients(qsgd.start(), torch.arange(16)[None])[0]
    torch.testing.assert_close(seen[0][0], gradient[:16])
    assert seen[4][0].tolist() == torch.randn(16).tolist()
    assert seen[8][0].tolist() == [1.0] * 16
    assert metrics["variance_to_bound"] == pytest.approx(0.7)
    assert metrics["nonzeros_to_bound"] == max(float(v.sum()) for v, _ in seen)


def test_reproduce_trains_every_variant_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qsgd, "train", lambda variant, seed: (variant[0] if variant else 0.5, seed))
    monkeypatch.setattr(qsgd, "bounds", lambda seed: {"bias": seed / 2})
    metrics = qsgd.reproduce(6)
    assert {name: metrics[name] for name in qsgd.VARIANTS} == {
        "full_precision": 0.5,
        "qsgd_4bit": 7,
        "qsgd_2bit": 1,
        "nearest_2bit": 1,
    }
    assert [metrics[f"bits_{name}"] for name in qsgd.VARIANTS] == [6] * 4
    assert metrics["bias"] == 3.0
    assert len(metrics) == 9


@pytest.mark.parametrize(("bits", "s"), [(2, 1), (4, 7)])
def test_the_offered_quantizer_repeats_itself_and_its_gradient_is_one(bits: int, s: int) -> None:
    v = torch.linspace(-3, 3, 301).reshape(1, -1).requires_grad_()
    value = qsgd.quantize(v, bits)
    integers, unit = qsgd.offered(v, bits)
    assert torch.equal(value.detach(), unit * integers)
    assert float(unit) == pytest.approx(3 / s)
    assert torch.unique(integers).tolist() == list(range(-s, s + 1))
    uniform = torch.rand(1, 301, generator=seeded(0))
    assert torch.equal(integers, qsgd.round_with(v.detach(), s, uniform, math.inf)[0])
    (gradient,) = torch.autograd.grad(value, v, torch.full_like(value, 2.0))
    assert (gradient == 2).all()
    assert not torch.equal(value.detach(), torch.round(v.detach() / unit) * unit), "plain rounding"


def test_quantizers_on_offer() -> None:
    assert [(q.name, q.bits) for q in qsgd.QUANTIZERS] == [("gradients", 2), ("gradients", 4)]
    x = torch.randn(1, 50, generator=seeded())
    for quantizer in qsgd.QUANTIZERS:
        integers, unit = quantizer.to_integers(x)
        assert torch.equal(quantizer.quantize(x), unit * integers)


@pytest.mark.slow
def test_seed_0_repeats_the_accepted_result() -> None:
    accepted = read(result_path(qsgd.RECORD))
    for key, value in qsgd.reproduce(0).items():
        exact = not key.startswith(("full", "qsgd", "nearest", "bits_qsgd", "bits_nearest", "dense_gradient"))
        assert value == pytest.approx(accepted.metrics[key][0], abs=1e-3 if exact else 3)
