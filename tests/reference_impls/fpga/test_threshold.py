from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reference_impls.fpga.ports import IntArray, Port
from reference_impls.fpga.simulate import simulate
from reference_impls.fpga.threshold import Threshold


def unit(channels: int = 4, levels: int = 3, seed: int = 0, **options: Any) -> Threshold:
    random = np.random.default_rng(seed)
    thresholds = np.sort(random.integers(-40, 40, (channels, levels)), axis=1)
    options = {"values": tuple(range(levels + 1)), "width": 7, **options}
    return Threshold(thresholds, descending=random.random(channels) < 0.5, **options)


def frames(unit: Threshold, count: int, seed: int = 1) -> IntArray:
    random = np.random.default_rng(seed)
    return random.integers(unit.input.low, unit.input.high + 1, (count, unit.input.elements), dtype=np.int64)


def expected(unit: Threshold, inputs: IntArray) -> IntArray:
    falls: NDArray[np.bool_] = unit.falls
    out = np.zeros_like(inputs)
    for place in np.ndindex(*inputs.shape):
        channel = place[1] % unit.channels
        reached = sum(int(t) <= int(inputs[place]) for t in unit.thresholds[channel])
        out[place] = unit.values[unit.levels - reached if falls[channel] else reached]
    return out


def check(unit: Threshold, count: int = 6) -> None:
    inputs = frames(unit, count)
    right = expected(unit, inputs)
    assert np.array_equal(unit.model(inputs), right)
    run = simulate(unit, inputs)
    assert np.array_equal(run.outputs, right)
    assert run.interval == unit.interval
    assert run.latency == unit.latency
    assert np.array_equal(simulate(unit, inputs, stall=0.4, seed=3).outputs, right)


@pytest.mark.parametrize("lanes", [1, 2, 4, 8])
@pytest.mark.parametrize("levels", [1, 2, 3, 6])
def test_every_folding_computes_the_comparisons_in_the_promised_cycles(lanes: int, levels: int) -> None:
    check(unit(8, levels, lanes=lanes, vectors=2))


@pytest.mark.parametrize(
    "values",
    [(-1, 1), (0, 1), (1, 1), (-3, -1), (0, 2), (5, 6)],
)
def test_values_of_one_threshold(values: tuple[int, int]) -> None:
    check(unit(6, 1, values=values, lanes=3))


@pytest.mark.parametrize(
    ("values", "output"),
    [
        ((-1, 0, 1), (2, "signed")),
        ((-3, -1, 1, 3), (3, "signed")),
        ((0, 1, 2, 3), (2, "unsigned")),
        ((-7, -2, 3, 8), (5, "signed")),
        ((0, 1, 4, 16), (5, "unsigned")),
        ((-8, -8, 0, 2, 2, 7), (4, "signed")),
    ],
)
def test_values_of_several_thresholds(values: tuple[int, ...], output: tuple[int, str]) -> None:
    made = unit(4, len(values) - 1, values=values, lanes=2)
    assert (made.output.width, made.output.kind) == output
    check(made)


def test_bipolar_output_is_one_bit() -> None:
    assert unit(4, 1, values=(-1, 1), lanes=2, vectors=3).output == Port(1, "bipolar", 2, 6)


def test_eight_bit_activation() -> None:
    check(unit(2, 255, width=8, lanes=1, vectors=4), 3)


def test_thresholds_that_never_and_always_count() -> None:
    far = np.array([[-1000, 0], [0, 1000], [-64, 64], [-1000, 1000]])
    made = Threshold(far, values=(0, 1, 2), width=7, lanes=1)
    assert set(made.model(frames(made, 50))[:, 3]) == {1}
    check(made, 30)


def test_unsigned_accumulators_and_one_channel() -> None:
    check(Threshold(np.array([[-2, 0, 3, 9, 20]]), values=(0, 1, 2, 3, 4, 5), width=4, kind="unsigned", vectors=8))


@pytest.mark.parametrize(
    ("channels", "levels", "lanes", "latency"),
    [(4, 1, 4, 1), (4, 1, 1, 2), (4, 3, 4, 2), (4, 3, 2, 3), (256, 1, 1, 3), (128, 3, 1, 4)],
)
def test_latency_is_that_of_the_memories(channels: int, levels: int, lanes: int, latency: int) -> None:
    made = unit(channels, levels, lanes=lanes, width=10)
    made = replace(made, thresholds=made.thresholds * 12)  # 10 bits, so that the larger tables take block memory
    assert made.latency == latency
    check(made, 2)


def test_shared_thresholds_need_no_memory_that_grows_with_the_channels() -> None:
    shared = Threshold(np.tile([-3, 0, 3], (16, 1)), values=(0, 1, 2, 3), width=6, lanes=1)
    assert [rom.depth for step in range(2) for rom in shared.roms(step)[0]] == [1, 2]
    check(shared, 3)


@pytest.mark.parametrize("lanes", [1, 4])
def test_one_changed_threshold_shows_in_model_and_hardware(lanes: int) -> None:
    made = unit(4, 3, lanes=lanes)
    changed = made.thresholds.copy()
    changed[2, 1] += 1 if changed[2, 1] < changed[2, 2] else -1
    other = replace(made, thresholds=np.sort(changed, axis=1))
    inputs = np.repeat(np.arange(-48, 48)[:, None], 4, axis=1)
    assert not np.array_equal(made.model(inputs), other.model(inputs))
    assert np.array_equal(simulate(other, inputs).outputs, expected(other, inputs))
    assert not np.array_equal(simulate(made, inputs).outputs, simulate(other, inputs).outputs)


def test_one_turned_channel_shows_in_the_hardware() -> None:
    made = unit(4, 3, lanes=2)
    turned = made.falls.copy()
    turned[1] ^= True
    inputs = frames(made, 4)
    differs = simulate(made, inputs).outputs != simulate(replace(made, descending=turned), inputs).outputs
    assert set(np.flatnonzero(differs.any(axis=0)) % 4) == {1}


@settings(max_examples=8, deadline=None)
@given(
    folding=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)),
    levels=st.integers(1, 9),
    width=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_any_small_shape(folding: tuple[int, int, int], levels: int, width: int, seed: int) -> None:
    lanes, groups, vectors = folding
    check(unit(lanes * groups, levels, seed, lanes=lanes, vectors=vectors, width=width), 3)


def test_without_descending_every_channel_rises() -> None:
    made = Threshold(np.array([[1], [2]]), values=(0, 1), width=4)
    assert not made.falls.any()
    assert made.model(np.array([[1, 1]])).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thresholds": np.array([[2, 1]])}, "must ascend"),
        ({"thresholds": np.array([1, 2])}, "integer array"),
        ({"thresholds": np.array([[0.5, 1.0]])}, "integer array"),
        ({"values": (0, 1)}, "need 3 values"),
        ({"values": (0, 2, 1)}, "that do not fall"),
        ({"descending": np.array([True])}, "2 booleans"),
        ({"kind": "bipolar"}, "signed or unsigned"),
        ({"lanes": 3}, "must divide"),
        ({"vectors": 0}, "vectors"),
        ({"width": 0}, "at least 1"),
    ],
)
def test_refuses_what_does_not_fit(changes: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {"thresholds": np.array([[0, 1], [1, 2]]), "values": (0, 1, 2), "width": 4}
    with pytest.raises(ValueError, match=message):
        Threshold(**{**right, **changes})


def test_the_arrays_cannot_be_changed_afterwards() -> None:
    made = unit()
    with pytest.raises(ValueError, match="read-only"):
        made.thresholds[0, 0] = 1
