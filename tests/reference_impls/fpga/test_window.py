from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.fpga.pipeline import Pipeline
from reference_impls.fpga.pool import MaxPool
from reference_impls.fpga.ports import IntArray, Kind, Port
from reference_impls.fpga.simulate import simulate
from reference_impls.fpga.window import SlidingWindow


def frames(unit: SlidingWindow, count: int, seed: int = 0) -> IntArray:
    port = unit.input
    random = np.random.default_rng(seed)
    if port.kind == "bipolar":
        return random.choice(np.array([-1, 1]), (count, port.elements))
    return random.integers(port.low, port.high + 1, (count, port.elements), dtype=np.int64)


def expected(unit: SlidingWindow, inputs: IntArray) -> IntArray:
    out = []
    for image in inputs.reshape(-1, unit.height, unit.width, unit.channels):
        row: list[int] = []
        for oy in range(unit.out_height):
            for ox in range(unit.out_width):
                for ky in range(unit.kernel):
                    for kx in range(unit.kernel):
                        y, x = oy * unit.stride + ky - unit.padding, ox * unit.stride + kx - unit.padding
                        inside = 0 <= y < unit.height and 0 <= x < unit.width
                        row += image[y, x].tolist() if inside else [unit.pad_value] * unit.channels
        out.append(row)
    return np.array(out, dtype=np.int64)


def check(unit: SlidingWindow, count: int = 8) -> None:
    inputs = frames(unit, count)
    right = expected(unit, inputs)
    assert np.array_equal(unit.model(inputs), right)
    run = simulate(unit, inputs)
    assert np.array_equal(run.outputs, right)
    assert run.interval == unit.interval
    assert run.latency == unit.latency
    assert np.array_equal(simulate(unit, inputs[:3], stall=0.4, seed=3).outputs, right[:3])


@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("padding", [0, 1])
def test_every_folding_sends_the_windows_in_the_promised_cycles(lanes: int, padding: int) -> None:
    check(SlidingWindow(4, 4, 4, 3, 3, padding=padding, pad_value=-2, lanes=lanes), 4)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        ((6, 6), 3, 2, 1),
        ((7, 5), 2, 2, 0),
        ((7, 7), 3, 3, 0),
        ((5, 6), 1, 1, 0),
        ((6, 7), 1, 2, 0),
        ((8, 8), 2, 3, 0),
        ((3, 3), 3, 1, 2),
        ((3, 3), 3, 1, 0),
        ((1, 6), 1, 4, 0),
        ((1, 1), 3, 1, 1),
        ((9, 2), 2, 5, 1),
    ],
)
def test_strides_and_borders(size: tuple[int, int], kernel: int, stride: int, padding: int) -> None:
    check(SlidingWindow(*size, 2, kernel, 4, "unsigned", stride, padding, 9), 5)


@pytest.mark.parametrize("pad_value", [-1, 1])
def test_a_bipolar_map_is_padded_with_a_sign(pad_value: int) -> None:
    unit = SlidingWindow(4, 4, 3, 3, 1, "bipolar", padding=1, pad_value=pad_value, lanes=3)
    assert unit.output == Port(1, "bipolar", 3, 144)
    check(unit, 4)


def test_the_buffer_holds_rows_not_frames() -> None:
    unit = SlidingWindow(64, 16, 1, 3, 8)
    assert unit.buffer == 128  # of 1,024 beats in a frame: two kernels' rows, and one
    assert SlidingWindow(64, 16, 1, 3, 8, padding=1).buffer <= 128


def test_a_buffer_that_is_too_small_costs_cycles() -> None:
    unit = SlidingWindow(6, 6, 1, 3, 2)
    small = replace(unit)
    object.__setattr__(small, "buffer", 16)  # 2 rows and 3 pixels are the least that can work: 15
    inputs = frames(unit, 8)
    assert np.array_equal(simulate(small, inputs).outputs, expected(unit, inputs))
    assert simulate(small, inputs).interval > unit.interval


@pytest.mark.parametrize("padding", [0, 1])
def test_a_producer_that_sends_in_bursts_costs_no_cycles(padding: int) -> None:
    pool = MaxPool(8, 8, 1, 2, 3)  # nothing for a row, then every second cycle an element
    window = SlidingWindow(4, 4, 1, 3, 3, padding=padding)
    both = Pipeline((pool, window))
    inputs = np.random.default_rng(0).integers(-4, 4, (6, 64), dtype=np.int64)
    run = simulate(both, inputs)
    assert np.array_equal(run.outputs, both.model(inputs))
    assert run.interval == max(pool.interval, window.interval)


def test_swapped_elements_show_in_model_and_hardware() -> None:
    unit = SlidingWindow(3, 3, 2, 2, 3, lanes=2)
    inputs = np.arange(-4, 14)[None].clip(-4, 3)
    swapped = inputs.copy()
    swapped[0, [2, 3]] = inputs[0, [3, 2]]
    assert not np.array_equal(unit.model(inputs), unit.model(swapped))
    assert np.array_equal(simulate(unit, swapped).outputs, expected(unit, swapped))
    assert not np.array_equal(simulate(unit, inputs).outputs, simulate(unit, swapped).outputs)


@settings(max_examples=8, deadline=None)
@given(
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    walk=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(0, 2)),
    channels=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    kind=st.sampled_from(["signed", "unsigned"]),
)
def test_any_small_shape(
    size: tuple[int, int], walk: tuple[int, int, int], channels: tuple[int, int], kind: Kind
) -> None:
    kernel, stride, padding = walk[0], walk[1], min(walk[2], walk[0] - 1)
    side = max(1, kernel - 2 * padding)
    height, width = max(size[0], side), max(size[1], side)
    check(SlidingWindow(height, width, channels[0] * channels[1], kernel, 2, kind, stride, padding, 1, channels[0]), 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 0}, "at least 1"),
        ({"stride": 0}, "at least 1"),
        ({"padding": -1}, "at least 0"),
        ({"kernel": 6}, "does not fit"),
        ({"padding": 3}, "less than the kernel"),
        ({"lanes": 3}, "must divide"),
        ({"pad_value": 8, "padding": 1}, "in -8..7"),
        ({"kind": "bipolar", "element_width": 1, "padding": 1}, "take -1 or 1"),
        ({"kind": "bipolar"}, "one bit"),
    ],
)
def test_refuses_what_does_not_fit(changes: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {"height": 5, "width": 5, "channels": 4, "kernel": 3, "element_width": 4}
    with pytest.raises(ValueError, match=message):
        SlidingWindow(**{**right, **changes})
