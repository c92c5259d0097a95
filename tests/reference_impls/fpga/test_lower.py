from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reference_impls.fpga.lower import Folding, fold, inputs_of, levels_of, lower, steps_of
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.network import (
    INT8_WEIGHTS,
    UINT8_ACTIVATIONS,
    CannotLowerError,
    Network,
    Recipe,
    Shape,
    builder,
)
from reference_impls.fpga.ports import IntArray
from reference_impls.fpga.simulate import simulate
from reference_impls.fpga.threshold import Threshold
from reference_impls.kit.data import digits
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.ste import sign, straight_through


def sign_integers(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return sign(x).to(torch.int64), torch.ones((), dtype=x.dtype)


SIGNS = Quantizer("weights", 1, lambda x: straight_through(x, sign(x)), sign_integers)
RECIPES = {
    "w1a1": Recipe(SIGNS, SIGNS),
    "w1a8": Recipe(SIGNS, UINT8_ACTIVATIONS),
    "w8a1": Recipe(INT8_WEIGHTS, SIGNS),
    "w8a8": Recipe(INT8_WEIGHTS, UINT8_ACTIVATIONS),
}


def made(bits: str, shape: Shape, seed: int = 0) -> Network:
    """Return an untrained network whose batch norms have random statistics, half of their scales negative."""
    torch.manual_seed(seed)
    network = builder(RECIPES[bits], shape)()
    with torch.no_grad():
        network(digits().train_x[:200])  # sets the running statistics
        for norm in network.norms:
            assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
            norm.weight.uniform_(-1, 1)
            norm.bias.uniform_(-0.5, 0.5)
            norm.weight[0] = 0.0  # a channel that is constant
        for layer in network.linear():
            if layer.bias is not None:
                layer.bias.uniform_(-0.3, 0.3)
    return network


@pytest.mark.parametrize("shape", ["mlp", "cnn"])
@pytest.mark.parametrize("bits", RECIPES)
def test_every_activation_of_every_image_is_that_of_torch(bits: str, shape: Shape) -> None:
    network = made(bits, shape)
    pipeline = lower(network, Folding(400))
    images = digits().test_x
    trace = pipeline.trace(inputs_of(images))
    with torch.no_grad():
        hidden = network.hidden(images.double())
        classes = network(images.double()).argmax(dim=1).numpy()
    found = [t for t, stage in zip(trace, pipeline.stages, strict=True) if isinstance(stage, Threshold)]
    for ours, theirs in zip(found, hidden, strict=True):
        integers = torch.round(theirs / network.activation.scale).to(torch.int64)
        frames = integers.permute(0, 2, 3, 1) if integers.dim() == 4 else integers  # channels fastest
        assert np.array_equal(ours, frames.flatten(1).numpy())
        assert len(np.unique(ours)) > 1
    assert np.array_equal(trace[-1][:, 0], classes)
    falling = [stage.falls for stage in pipeline.stages if isinstance(stage, Threshold)]
    assert all(falls.any() and not falls.all() for falls in falling)


@pytest.mark.parametrize(("bits", "shape"), [("w1a1", "mlp"), ("w8a8", "mlp"), ("w1a1", "cnn"), ("w8a1", "cnn")])
def test_hardware_gives_the_classes_of_torch_under_stalls(bits: str, shape: Shape) -> None:
    network = made(bits, shape)
    pipeline = lower(network, Folding(128))
    images = digits().test_x[:6]
    with torch.no_grad():
        classes = network.eval()(images.double()).argmax(dim=1).numpy()
    frames = inputs_of(images)
    assert np.array_equal(simulate(pipeline, frames, stall=0.3).outputs[:, 0], classes)
    free = simulate(pipeline, frames)
    assert np.array_equal(free.outputs[:, 0], classes)
    assert free.interval == pipeline.interval


@given(
    seed=st.integers(0, 10_000),
    channels=st.integers(1, 4),
    low=st.integers(-40, 0),
    span=st.integers(1, 80),
    levels=st.integers(2, 9),
)
@settings(max_examples=60, deadline=None)
def test_steps_repeat_any_monotone_function(seed: int, channels: int, low: int, span: int, levels: int) -> None:
    random = np.random.default_rng(seed)
    high = low + span
    table = np.sort(random.integers(0, levels, (channels, span + 1)), axis=1)
    falls = random.random(channels) < 0.5
    table[falls] = table[falls, ::-1]
    steps = steps_of(lambda a: np.take_along_axis(table, a - low, axis=1), channels, low, high, range(levels))
    assert steps.values == tuple(range(levels))
    unit = Threshold(steps.thresholds, steps.values, 8, "signed", steps.falls, channels, span + 1)
    accumulators = np.tile(np.arange(low, high + 1)[:, None], channels)  # (span + 1, channels)
    assert np.array_equal(unit.model(accumulators.reshape(1, -1)).reshape(span + 1, channels), table.T)


def test_steps_are_checked_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def function(a: IntArray) -> IntArray:
        seen.append(a.shape[1])
        return (a > 3).astype(np.int64)

    monkeypatch.setattr("reference_impls.fpga.lower.CHUNK", 20)
    steps = steps_of(function, 2, -7, 9, (0, 1))
    assert seen[-2:] == [10, 7]
    assert steps.thresholds.tolist() == [[4], [4]]
    monkeypatch.setattr("reference_impls.fpga.lower.CHECKED", 5)
    steps_of(function, 2, -7, 9, (0, 1))
    assert seen[-1] == 5


def test_a_wide_range_is_bisected() -> None:
    evaluated = 0

    def function(a: IntArray) -> IntArray:
        nonlocal evaluated
        evaluated += a.size
        return np.clip(a // 1000, 0, 3)

    steps = steps_of(function, 1, -(10**6), 10**6, range(4))
    assert steps.thresholds.tolist() == [[1000, 2000, 3000]]
    assert evaluated < 20_000


@pytest.mark.parametrize(
    "function", [lambda a: np.stack([a[0] > 0, a[1] ** 2 > 2]).astype(np.int64), lambda a: np.where(a > 1, 2, a > 0)]
)
def test_what_thresholds_cannot_follow_is_refused(function: Callable[[IntArray], IntArray]) -> None:
    with pytest.raises(CannotLowerError, match="is no monotone function of the accumulator"):
        steps_of(function, 2, -2, 2, (0, 1))


def test_a_value_that_is_never_reached_keeps_its_place() -> None:
    steps = steps_of(np.zeros_like, 1, -2, 2, (0, 1, 2))
    assert steps.values == (0, 1, 2)
    assert steps.thresholds.tolist() == [[3, 3]]  # one more than the greatest accumulator


def test_levels_are_those_of_the_quantizer() -> None:
    assert levels_of(made("w1a1", "mlp")) == (-1, 1)
    assert levels_of(made("w1a8", "mlp")) == tuple(range(256))


@pytest.mark.parametrize("interval", [1, 7, 16, 64, 200, 2048, 10_000])
def test_fold_is_the_smallest_that_is_fast_enough(interval: int) -> None:
    rows, columns = 32, 64
    pe, simd = fold(rows, columns, 1, interval)
    assert rows % pe == columns % simd == 0
    assert (rows // pe) * (columns // simd) <= interval
    divisors = [(p, s) for p in range(1, 33) for s in range(1, 65) if rows % p == columns % s == 0]
    assert pe * simd == min(p * s for p, s in divisors if (rows // p) * (columns // s) <= interval)


def test_fold_takes_the_fastest_where_none_is_fast_enough() -> None:
    assert fold(4, 9, 36, 10) == (4, 9)


def test_fold_keeps_beats_whole() -> None:
    for interval in (30, 60, 200, 600):
        _, simd = fold(8, 36, 16, interval, group=4)
        assert simd % 4 == 0 or 4 % simd == 0


def test_pe_and_simd_of_the_hidden_layer_can_be_set() -> None:
    network = made("w1a1", "mlp")
    pipeline = lower(network, Folding(128, pe=8, simd=16))
    hidden = [stage for stage in pipeline.stages if isinstance(stage, MatrixVector)][1]
    assert (hidden.pe, hidden.simd) == (8, 16)
    with pytest.raises(ValueError, match="PE 5 does not divide the 32 rows"):
        lower(network, Folding(128, pe=5))


def test_images_become_integers() -> None:
    images = torch.tensor([-1.0, -0.125, 0.0, 1.0]).reshape(1, 1, 2, 2)
    assert inputs_of(images).tolist() == [[-8, -1, 0, 8]]
    with pytest.raises(CannotLowerError, match="multiples of 1/8"):
        inputs_of(images / 3)
