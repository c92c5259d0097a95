from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.fpga.ports import IntArray, Port
from reference_impls.fpga.requantise import Requantise, fixed_point
from reference_impls.fpga.simulate import simulate


def unit(channels: int = 4, seed: int = 0, **options: Any) -> Requantise:
    multipliers = np.random.default_rng(seed).integers(-100, 100, channels)
    return Requantise(multipliers, **{"shift": 8, "zero_point": 3, "low": -128, "high": 127, "width": 12, **options})


def frames(unit: Requantise, count: int, seed: int = 1) -> IntArray:
    random = np.random.default_rng(seed)
    return random.integers(unit.input.low, unit.input.high + 1, (count, unit.input.elements), dtype=np.int64)


def expected(unit: Requantise, inputs: IntArray) -> IntArray:
    out = np.zeros_like(inputs)
    for place in np.ndindex(*inputs.shape):
        exact = Fraction(int(inputs[place]) * int(unit.multipliers[place[1] % unit.channels]), 2**unit.shift)
        rounded = floor(exact + Fraction(1, 2)) + unit.zero_point
        out[place] = min(max(rounded, unit.low), unit.high)
    return out


def check(unit: Requantise, count: int = 6) -> None:
    inputs = frames(unit, count)
    right = expected(unit, inputs)
    assert np.array_equal(unit.model(inputs), right)
    run = simulate(unit, inputs)
    assert np.array_equal(run.outputs, right)
    assert run.interval == unit.interval
    assert run.latency == unit.latency
    assert np.array_equal(simulate(unit, inputs, stall=0.4, seed=3).outputs, right)


@pytest.mark.parametrize("lanes", [1, 2, 4, 8])
def test_every_folding_scales_in_the_promised_cycles(lanes: int) -> None:
    check(unit(8, lanes=lanes, vectors=2))


@pytest.mark.parametrize(
    "options",
    [
        {"shift": 0},
        {"shift": 1, "low": -2000, "high": 2000},
        {"shift": 30},
        {"low": 3, "high": 255},
        {"low": 0, "high": 15, "zero_point": 0, "kind": "unsigned"},
        {"low": -7, "high": -3, "zero_point": -5},
        {"zero_point": 5000},
        {"width": 1, "kind": "unsigned"},
    ],
)
def test_shifts_zero_points_and_clamps(options: dict[str, Any]) -> None:
    check(unit(**options))


def test_halves_are_rounded_up() -> None:
    half = Requantise(np.array([1]), 1, 0, -128, 127, 4)
    inputs = np.array([[-3], [-2], [-1], [0], [1], [2], [3]])
    right = [[-1], [-1], [0], [0], [1], [1], [2]]
    assert half.model(inputs).tolist() == right
    assert simulate(half, inputs).outputs.tolist() == right


def test_many_channels_keep_their_multipliers_in_block_memory() -> None:
    big = unit(300, width=6)
    assert big.latency == 4
    check(big, 2)


def test_one_multiplier_for_all_channels_needs_no_memory() -> None:
    shared = Requantise(np.full(6, 77), 6, 0, -128, 127, 8, lanes=2)
    assert shared.latency == 2
    check(shared)


def test_one_changed_multiplier_shows_in_model_and_hardware() -> None:
    made = unit()
    changed = made.multipliers.copy()
    changed[2] ^= 1 << 5
    other = replace(made, multipliers=changed)
    inputs = frames(made, 4)
    assert np.array_equal(simulate(other, inputs).outputs, expected(other, inputs))
    differs = simulate(made, inputs).outputs != simulate(other, inputs).outputs
    assert set(np.flatnonzero(differs.any(axis=0))) == {2}


def test_eight_bits_of_a_wide_accumulator() -> None:
    multipliers, shift = fixed_point([0.0017, 0.0004])
    made = Requantise(multipliers, shift, -10, -128, 127, 20, lanes=2)
    assert made.output == Port(8, "signed", 2, 1)
    check(made, 30)
    exact = np.rint(frames(made, 30) * np.array([0.0017, 0.0004]) - 10).clip(-128, 127)
    assert int(np.abs(made.model(frames(made, 30)) - exact).max()) <= 1


@settings(max_examples=10, deadline=None)
@given(
    lanes=st.integers(1, 3),
    groups=st.integers(1, 3),
    shift=st.integers(0, 12),
    width=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_any_small_shape(lanes: int, groups: int, shift: int, width: int, seed: int) -> None:
    check(unit(lanes * groups, seed, lanes=lanes, shift=shift, width=width), 3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-8, 8), min_size=1, max_size=4), st.integers(4, 24))
def test_fixed_point_is_within_half_a_step(scales: list[float], bits: int) -> None:
    if max(map(abs, scales)) < 1e-6:
        with pytest.raises(ValueError, match="not 0"):
            fixed_point([0.0] * len(scales), bits)
        return
    multipliers, shift = fixed_point(scales, bits)
    assert np.abs(multipliers).max() < 1 << bits
    assert 2 * np.abs(multipliers).max() >= (1 << bits) - 2  # no bit is wasted
    assert (np.abs(multipliers / 2.0**shift - np.array(scales)) <= 0.5 / 2.0**shift).all()


@pytest.mark.parametrize(("scales", "bits"), [([np.inf], 8), ([], 8), ([0.5], 0), ([300.0], 8)])
def test_fixed_point_refuses_what_has_no_multiplier(scales: list[float], bits: int) -> None:
    with pytest.raises(ValueError, match="scale"):
        fixed_point(scales, bits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"multipliers": np.array([[1]])}, "integer array"),
        ({"multipliers": np.array([0.5])}, "integer array"),
        ({"low": 127}, "below high"),
        ({"kind": "bipolar"}, "signed or unsigned"),
        ({"lanes": 3}, "must divide"),
        ({"shift": -1}, "not at -1"),
        ({"width": 60}, "shorter multipliers"),
        ({"width": 0}, "at least 1"),
    ],
)
def test_refuses_what_does_not_fit(changes: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {
        "multipliers": np.array([100, 20]),
        "shift": 4,
        "zero_point": 0,
        "low": 0,
        "high": 127,
        "width": 8,
    }
    with pytest.raises(ValueError, match=message):
        Requantise(**{**right, **changes})
