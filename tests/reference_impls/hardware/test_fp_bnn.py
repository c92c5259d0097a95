from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.pipeline import Pipeline
from reference_impls.fpga.ports import IntArray, Port
from reference_impls.fpga.simulate import simulate
from reference_impls.hardware import fp_bnn as fp
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import QuantLinear, identity
from reference_impls.kit.quantizers import curve
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic, train


def gradient(y: Tensor, x: Tensor) -> list[float]:
    (result,) = torch.autograd.grad(y.sum(), x)
    found: list[float] = result.tolist()
    return found


def test_powers_of_two_are_nearest_in_the_logarithm_and_not_by_rounding() -> None:
    z = torch.tensor([3.0, -3.0, 2.8, 0.7, 0.71, -0.1, 1.0, 0.0], requires_grad=True)
    y = fp.power_of_two(z)
    assert y.tolist() == [4, -4, 2, 0.5, 1, -0.125, 1, 2.0**-20]
    assert gradient(y, z) == [1] * 8


def test_signs_have_the_gradient_of_bnn() -> None:
    x = torch.tensor([-2.0, -1.0, -0.0, 0.5, 1.0, 1.5], requires_grad=True)
    assert fp.binarize(x).tolist() == [-1, -1, 1, 1, 1, 1]
    assert torch.equal(fp.Sign()(x), fp.binarize(x))
    assert gradient(fp.Sign()(x), x) == [0, 1, 1, 1, 1, 0]
    assert gradient(fp.binarize(x, 1.7), x) == [0, 1, 1, 1, 1, 1]
    weights, activations = fp.QUANTIZERS
    assert (weights.name, weights.bits, activations.name, activations.bits) == ("weights", 1, "activations", 1)
    assert gradient(weights.quantize(x), x) == [1] * 6
    assert gradient(activations.quantize(x), x) == [0, 1, 1, 1, 1, 0]
    for quantizer in fp.QUANTIZERS:
        integers, scale = quantizer.to_integers(x.detach().double())
        assert (integers.dtype, scale.dtype, float(scale)) == (torch.int64, torch.float64, 1.0)
        assert integers.tolist() == [-1, -1, 1, 1, 1, 1]
        assert set(curve(quantizer).y) == {-1.0, 1.0}


def made(gamma: list[float], beta: list[float], mean: list[float], variance: list[float]) -> fp.ShiftBatchNorm:
    norm = fp.ShiftBatchNorm(len(gamma))
    norm.weight.data, norm.bias.data = torch.tensor(gamma), torch.tensor(beta)
    norm.get_buffer("running_mean").copy_(torch.tensor(mean))
    norm.get_buffer("running_var").copy_(torch.tensor(variance))
    return norm


def test_batch_norm_in_evaluation_shifts_and_rounds_its_parameters() -> None:
    norm = made([1.2, -0.3], [0.26, -1.09], [3.03, -7.96], [30.0, 0.9]).eval()
    mean, factor, offset = norm.parameters_on_chip()
    assert mean.tolist() == [48, -127]  # 3.03 * 16 = 48.48, -7.96 * 16 = -127.36
    assert offset.tolist() == [4, -17]
    assert factor.tolist() == [0.25, -0.25]  # 1.2 to 1, 30 ** -0.5 = 0.18 to 0.25; -0.3 to -0.25, 1.05 to 1
    x = torch.tensor([[5.0, 2.0], [-1.0, 0.0]])
    expected = [[(v[0] - 3) * 0.25 + 0.25, (v[1] + 127 / 16) * -0.25 - 17 / 16] for v in x.tolist()]
    assert norm(x).tolist() == expected


def test_batch_norm_adds_epsilon_to_the_variance() -> None:
    norm = made([1.0], [0.0], [0.0], [0.0])
    assert float(norm.factor(norm.get_buffer("running_var")).detach()) == 256  # 1e-5 ** -0.5 = 316


def test_batch_norm_in_training_uses_the_batch_and_keeps_statistics() -> None:
    norm = made([1.5, -0.3], [0.3, 0.0], [0.0, 0.0], [1.0, 1.0])
    x = torch.tensor([[1.0, 3.0], [5.0, -4.0], [-2.0, 8.0], [0.0, 1.0]], requires_grad=True)
    y = norm(x)
    mean, spread = x.detach().mean(dim=0), x.detach().var(dim=0, correction=0).sqrt()
    factors = [2 * 2.0 ** round(math.log2(1 / float(spread[0]))), -0.25 * 2.0 ** round(math.log2(1 / float(spread[1])))]
    expected = (x.detach() - mean) * torch.tensor(factors) + torch.tensor([0.3, 0.0])
    assert torch.allclose(y, expected)
    assert torch.allclose(norm.get_buffer("running_mean"), 0.1 * mean)
    assert torch.allclose(norm.get_buffer("running_var"), 0.9 + 0.1 * x.detach().var(dim=0))
    y[:, 0].square().sum().backward()
    assert norm.weight.grad is not None
    assert norm.bias.grad is not None
    assert float(norm.weight.grad[0]) != 0
    assert float(norm.bias.grad[0]) == pytest.approx(2 * float(y.detach()[:, 0].sum()), rel=1e-4)


def test_the_perceptron_is_binary_or_real() -> None:
    with deterministic(0):
        binary, real = fp.network(fp.ShiftBatchNorm), fp.network(nn.BatchNorm1d, binary=False)
    names = ["Flatten", *["QuantLinear", "ShiftBatchNorm", "Sign"] * 2, "QuantLinear"]
    assert [type(part).__name__ for part in binary] == names
    assert [type(part).__name__ for part in real] == ["Flatten", *["QuantLinear", "BatchNorm1d", "ReLU"] * 2, names[1]]
    layers = [part for part in binary if isinstance(part, QuantLinear)]
    assert [tuple(part.weight.shape) for part in layers] == [(64, 64), (64, 64), (10, 64)]
    assert [sorted(set(part.quantizer(part.weight).flatten().tolist())) for part in layers] == [
        [-8, 8],
        [-1, 1],
        [-0.125, 0.125],
    ]
    w = torch.tensor([-3.0, 5.0], requires_grad=True)
    assert gradient(layers[0].quantizer(w), w) == [8, 8]
    assert all(part.quantizer is identity for part in real if isinstance(part, QuantLinear))
    assert binary(digits().test_x[:4]).shape == real(digits().test_x[:4]).shape == (4, 10)


PARAMETERS = (
    np.array([5, -40, 16, 0, 63, -7, 24, -16]),
    np.array([3, -9, 0, -1, 16, 5, -16, 1]),
    np.array([-3, 0, -1, -2, 1, -3, -2, 0]),
    np.array([False, True, False, False, True, True, False, True]),
)


def right_sign(a: int, channel: int) -> int:
    """The formula in exact fractions."""
    mean, offset, shift, falls = (int(column[channel]) for column in PARAMETERS)
    y = (a - Fraction(mean, 16)) * Fraction(2) ** shift * (-1) ** falls + Fraction(offset, 16)
    return 1 if y >= 0 else -1


def accumulators() -> IntArray:
    return np.repeat(np.arange(-16, 16)[:, None], 8, axis=1)


def right_signs() -> list[list[int]]:
    return [[right_sign(int(a), channel) for channel, a in enumerate(row)] for row in accumulators()]


@pytest.mark.parametrize("lanes", [1, 2, 8])
def test_the_shifting_unit_is_the_formula_in_the_promised_cycles(lanes: int) -> None:
    unit = fp.shift_norm(*PARAMETERS, Port(5, "signed", lanes, 8 // lanes))
    right = right_signs()
    assert unit.model(accumulators()).tolist() == right
    run = simulate(unit, accumulators(), restart=True)
    assert run.outputs.tolist() == right
    assert run.interval == unit.interval == 8 // lanes
    assert run.latency == unit.latency == (2 if lanes == 8 else 3)
    assert unit.depth == 0
    assert unit.output == Port(1, "bipolar", lanes, 8 // lanes)
    assert simulate(unit, accumulators(), stall=0.4, seed=2).outputs.tolist() == right


def test_the_shifting_unit_takes_unsigned_accumulators_and_shifts_to_the_left() -> None:
    mean, offset, shift = np.array([50, 10]), np.array([-30, 16]), np.array([2, 1])
    falls = np.array([False, True])
    unit = fp.shift_norm(mean, offset, shift, falls, Port(4, "unsigned", 1, 2))
    frames = np.repeat(np.arange(16)[:, None], 2, axis=1)
    right = [[1 if 4 * (16 * a - 50) >= 30 else -1, 1 if -2 * (16 * a - 10) + 16 >= 0 else -1] for a in range(16)]
    assert unit.right == 0
    assert unit.model(frames).tolist() == simulate(unit, frames).outputs.tolist() == right


def test_equal_parameters_need_no_memory_and_one_lane_needs_a_deep_one() -> None:
    column = np.full(4, 3)
    unit = fp.shift_norm(column, column, -column, column > 9, Port(5, "signed", 1, 4))
    assert unit.latency == 2
    run = simulate(unit, np.arange(-16, 16).reshape(8, 4))
    assert run.latency == 2
    assert run.outputs.tolist() == unit.model(np.arange(-16, 16).reshape(8, 4)).tolist()
    assert fp.shift_norm(*PARAMETERS, Port(5, "signed", 8, 1)).memories()[0].depth == 1


def changed_unit(**channel_2: int) -> fp.ShiftNorm:
    """The unit with other parameters of channel 2."""
    mean, offset, shift, falls = (column.copy() for column in PARAMETERS)
    for column, name in ((mean, "mean"), (offset, "offset"), (shift, "shift"), (falls, "falls")):
        column[2] = channel_2.get(name, column[2])
    return fp.shift_norm(mean, offset, shift, falls, Port(5, "signed", 2, 4))


@pytest.mark.parametrize("change", [{"mean": 90}, {"offset": 40}, {"falls": 1}])
def test_one_changed_parameter_shows_in_its_channel(change: dict[str, int]) -> None:
    wrong = simulate(changed_unit(**change), accumulators()).outputs != np.array(right_signs())
    assert wrong.any(axis=0).tolist() == [channel == 2 for channel in range(8)]


def test_a_changed_shift_shows_where_there_is_an_offset() -> None:
    before, after = changed_unit(offset=40), changed_unit(offset=40, shift=-3)
    wrong = simulate(before, accumulators()).outputs != simulate(after, accumulators()).outputs
    assert wrong.any(axis=0).tolist() == [channel == 2 for channel in range(8)]


@pytest.fixture(scope="module")
def trained() -> nn.Sequential:
    with deterministic(1):
        network = fp.network(fp.ShiftBatchNorm)
        for norm in network:
            if isinstance(norm, fp.ShiftBatchNorm):
                norm.weight.data, norm.bias.data = torch.randn(64), torch.randn(64)
        for _ in range(20):
            network(digits().train_x[:100])
    return network.eval()


def test_the_pipeline_is_the_network_on_every_image(trained: nn.Sequential) -> None:
    pipeline = fp.hardware(trained)
    pixels = (digits().test_x.flatten(1) * 8).long().numpy()
    classes = trained(digits().test_x).detach().numpy().argmax(axis=1)
    assert len(set(classes.tolist())) > 3
    assert pipeline.model(pixels)[:, 0].tolist() == classes.tolist()
    hidden = trained[:4](digits().test_x).detach()
    assert pipeline.trace(pixels)[1].tolist() == trained[3](trained[:3](digits().test_x)).tolist() == hidden.tolist()
    run = simulate(pipeline, pixels[:3])
    assert run.outputs[:, 0].tolist() == classes[:3].tolist()
    assert run.interval == pipeline.interval == 64
    stages = [stage for stage in pipeline.stages if isinstance(stage, MatrixVector)]
    assert [(stage.pe, stage.simd, stage.width, stage.kind) for stage in stages] == [
        (8, 8, 5, "signed"),
        (8, 8, 1, "bipolar"),
        (2, 8, 1, "bipolar"),
    ]
    assert {stage.element.label for stage in stages} == {"add/subtract", "XNOR-popcount"}


def test_one_turned_weight_or_sign_shows(trained: nn.Sequential) -> None:
    pixels = (digits().test_x.flatten(1) * 8).long().numpy()
    before = fp.hardware(trained).trace(pixels)
    last = [part for part in trained if isinstance(part, QuantLinear)][-1]
    with torch.no_grad():
        last.weight[3, 5] *= -1
        after = fp.hardware(trained).trace(pixels)
        last.weight[3, 5] *= -1
    assert (before[4] != after[4]).any(axis=0).tolist() == [row == 3 for row in range(10)]


@pytest.mark.parametrize(
    ("pe", "simd", "cycles", "tables"),
    [
        # PE (SIMD + 2 adders + count + accumulator + start mux) + starts + buffer + counters + weights
        (2, 8, 256, 2 * (8 + 2 * 4 + 4 + 8 + 7) + 2 * 7 + 8 + 12 + (6 + 5) + (4 + 3) + (8 + 8)),
        (8, 16, 32, 8 * (16 + 2 * 11 + 6 + 8 + 7) + 8 * 7 + 16 + 24 + (4 + 3) + (2 + 2) + (6 + 5) + 2 * 128),
        (16, 16, 16, 16 * (16 + 2 * 11 + 6 + 8 + 7) + 16 * 7 + 16 + 24 + (2 + 2) + (2 + 2) + (4 + 4) + 256),
        (64, 32, 2, 64 * (32 + 2 * 26 + 6 + 8 + 7) + 0 + (0 + 0) + (2 + 1) + (2 + 1) + 2),
    ],
)
def test_the_resource_model_by_hand(pe: int, simd: int, cycles: int, tables: int) -> None:
    assert fp.rama(64, 64, pe, simd) == (cycles, tables)


def test_the_resource_model_keeps_shallow_or_small_weights_out_of_block_memory() -> None:
    cycles, tables = fp.rama(64, 64, 4, 8)  # 128 words of 32 bits
    assert cycles == 128
    assert tables == 4 * (8 + 8 + 4 + 8 + 7) + 4 * 7 + 8 + 12 + (4 + 4) + (4 + 3) + (8 + 7)
    cycles, tables = fp.rama(16, 16, 1, 4)  # 64 words of 4 bits: 4 tables of 64 words each
    assert cycles == 64
    assert tables == (4 + 2 + 4 + 6 + 5) + 5 + 4 + 6 + (4 + 4) + (2 + 2) + (6 + 6) + 4 * 4
    assert fp.rama(33, 64, 1, 64)[1] - fp.rama(32, 64, 1, 64)[1] < 0  # 33 words of 64 bits go into a block


@pytest.mark.parametrize(("pe", "simd"), [(2, 8), (8, 16), (16, 16)])
def test_cycles_of_the_model_are_those_of_the_unit(pe: int, simd: int) -> None:
    random = np.random.default_rng(0)
    unit = MatrixVector(random.choice(np.array([-1, 1]), (64, 64)), 1, "bipolar", pe=pe, simd=simd)
    run = simulate(unit, random.choice(np.array([-1, 1]), (3, 64)))
    assert run.interval == fp.rama(64, 64, pe, simd)[0]


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []
    synthesised: list[str] = []

    def quick(build: Any, seed: int) -> nn.Module:
        network = train(build, seed, epochs=1)
        seen.append((type(list(network)[2]).__name__ + type(list(network)[3]).__name__, seed))  # type: ignore[call-overload]
        return network

    def fake(stage: Any) -> SimpleNamespace:
        synthesised.append(stage.label)
        units: Any = stage.stages if isinstance(stage, Pipeline) else (stage,)
        wide = units[0].width == 8
        cost = fp.rama(64, 64, units[0].pe, units[0].simd)[1] * {2: 1.0, 8: 1.25, 16: 0.8}[units[0].pe]
        return SimpleNamespace(logic=3 * cost if wide else cost, dsp=len(units) - 1 + 10 * wide)

    monkeypatch.setattr(fp, "train", quick)
    monkeypatch.setattr(fp, "synthesise", fake)
    fp.synthesised.cache_clear()
    try:
        metrics = fp.reproduce(4)
    finally:
        fp.synthesised.cache_clear()
    assert seen == [("ShiftBatchNormSign", 4), ("BatchNorm1dSign", 4), ("BatchNorm1dReLU", 4)]
    assert len(synthesised) == 5
    assert metrics["logic_ratio"] == pytest.approx(3)
    assert metrics["model_error"] == pytest.approx(25)
    assert metrics["dsp_blocks"] == 1
    assert metrics["wrong_classes"] == 0
    assert metrics["interval"] == metrics["compute_cycles"] == 64
    assert 20 < metrics["shift_accuracy"] < 100
    named = {name for claim in fp.CLAIMS for name in (claim.metric, *_baseline(claim))}
    assert named == set(metrics)


def test_reproduce_counts_wrong_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    def off(stage: Any, frames: IntArray) -> SimpleNamespace:
        return SimpleNamespace(outputs=(stage.model(frames) + np.arange(6)[:, None]) % 10, interval=1.0)

    monkeypatch.setattr(fp, "train", lambda build, seed: train(build, seed, epochs=1))
    monkeypatch.setattr(fp, "simulate", off)
    monkeypatch.setattr(fp, "synthesised", dict)
    assert fp.reproduce(0)["wrong_classes"] == 5


def _baseline(claim: object) -> list[str]:
    named = claim.expected if isinstance(claim, Exact) else getattr(claim, "baseline", None)
    return [named] if isinstance(named, str) else []


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(fp.RECORD))
    with deterministic(0):
        metrics = fp.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name in ("shift_accuracy", "batch_norm_accuracy", "full_precision"):
        assert metrics[name] == pytest.approx(accepted.metrics[name][0], abs=3)
    for name in ("wrong_classes", "interval", "compute_cycles", "dsp_blocks"):
        assert metrics[name] == accepted.metrics[name][0]
    for name in ("logic_ratio", "model_error"):  # another release of Yosys counts a little otherwise
        assert metrics[name] == pytest.approx(accepted.metrics[name][0], rel=0.1)
