from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.fpga.pool import MaxPool
from reference_impls.fpga.ports import IntArray, Kind
from reference_impls.fpga.simulate import simulate


def frames(unit: MaxPool, count: int, seed: int = 0) -> IntArray:
    port = unit.input
    random = np.random.default_rng(seed)
    if port.kind == "bipolar":
        return random.choice(np.array([-1, -1, -1, 1]), (count, port.elements))
    return random.integers(port.low, port.high + 1, (count, port.elements), dtype=np.int64)


def expected(unit: MaxPool, inputs: IntArray) -> IntArray:
    maps = inputs.reshape(-1, unit.height, unit.width, unit.channels)
    rows, columns, side = unit.height // unit.kernel, unit.width // unit.kernel, unit.kernel
    out = np.zeros((len(inputs), rows, columns, unit.channels), dtype=np.int64)
    for place in np.ndindex(*out.shape):
        n, y, x, c = place
        out[place] = max(
            int(maps[n, y * side + ky, x * side + kx, c]) for ky in range(unit.kernel) for kx in range(unit.kernel)
        )
    return out.reshape(len(inputs), -1)


def check(unit: MaxPool, count: int = 4) -> None:
    inputs = frames(unit, count)
    right = expected(unit, inputs)
    assert np.array_equal(unit.model(inputs), right)
    run = simulate(unit, inputs)
    assert np.array_equal(run.outputs, right)
    assert run.interval == unit.interval
    assert run.latency == unit.latency
    assert np.array_equal(simulate(unit, inputs, stall=0.4, seed=3).outputs, right)


@pytest.mark.parametrize("lanes", [1, 2, 3, 6])
def test_every_folding_finds_the_maxima_in_the_promised_cycles(lanes: int) -> None:
    check(MaxPool(4, 6, 6, 2, 5, lanes=lanes))


@pytest.mark.parametrize("kind", ["signed", "unsigned"])
@pytest.mark.parametrize(("height", "width", "kernel"), [(4, 4, 2), (5, 7, 2), (7, 8, 3), (3, 3, 3), (2, 3, 1)])
def test_sizes_that_leave_a_rest(height: int, width: int, kernel: int, kind: Kind) -> None:
    check(MaxPool(height, width, 2, kernel, 3, kind))


@pytest.mark.parametrize("lanes", [1, 4])
def test_the_maximum_of_signs_is_an_or(lanes: int) -> None:
    unit = MaxPool(4, 4, 4, 2, 1, "bipolar", lanes)
    inputs = frames(unit, 6)
    bits = (inputs > 0).reshape(6, 2, 2, 2, 2, 4)
    assert np.array_equal(unit.model(inputs) > 0, bits.any(axis=(2, 4)).reshape(6, -1))
    check(unit)


def test_a_square_forgets_the_square_before() -> None:
    unit = MaxPool(2, 2, 1, 2, 4)
    inputs = np.array([[7, 7, 7, 7], [-8, -7, -8, -8], [-8, -8, -8, -8]])
    assert simulate(unit, inputs).outputs.tolist() == [[7], [-7], [-8]]


def test_one_changed_element_shows_in_the_hardware() -> None:
    unit = MaxPool(4, 4, 1, 2, 4)
    inputs = np.zeros((1, 16), dtype=np.int64)
    for place in range(16):
        raised = inputs.copy()
        raised[0, place] = 5
        square = place // 8 * 2 + place % 4 // 2
        assert simulate(unit, raised).outputs[0].tolist() == [5 if k == square else 0 for k in range(4)]


@settings(max_examples=8, deadline=None)
@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    kernel=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    width=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_any_small_shape(size: tuple[int, int], kernel: int, channels: tuple[int, int], width: int, seed: int) -> None:
    kind: Kind = "unsigned" if seed % 2 else "signed"
    height, columns = (max(side, kernel) for side in size)
    check(MaxPool(height, columns, channels[0] * channels[1], kernel, width, kind, channels[0]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 0}, "at least 1"),
        ({"kernel": 5}, "does not fit"),
        ({"lanes": 3}, "must divide"),
        ({"element_width": 0}, "at least 1"),
        ({"kind": "bipolar"}, "one bit"),
    ],
)
def test_refuses_what_does_not_fit(changes: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {"height": 4, "width": 4, "channels": 4, "kernel": 2, "element_width": 4}
    with pytest.raises(ValueError, match=message):
        MaxPool(**{**right, **changes})
