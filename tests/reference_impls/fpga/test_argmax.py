from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.fpga.argmax import Argmax
from reference_impls.fpga.ports import IntArray, Kind, Port
from reference_impls.fpga.simulate import simulate


def expected(inputs: IntArray) -> IntArray:
    found = []
    for row in inputs.tolist():
        best = 0
        for index, score in enumerate(row):
            if score > row[best]:
                best = index
        found.append([best])
    return np.array(found, dtype=np.int64)


def check(unit: Argmax, inputs: IntArray) -> None:
    right = expected(inputs)
    assert np.array_equal(unit.model(inputs), right)
    run = simulate(unit, inputs)
    assert np.array_equal(run.outputs, right)
    assert run.interval == unit.interval
    assert run.latency == unit.latency
    assert np.array_equal(simulate(unit, inputs, stall=0.4, seed=5).outputs, right)


@pytest.mark.parametrize("lanes", [1, 2, 5, 10])
def test_every_folding_finds_the_greatest_in_the_promised_cycles(lanes: int) -> None:
    inputs = np.random.default_rng(0).integers(-128, 128, (20, 10), dtype=np.int64)
    check(Argmax(10, 8, lanes=lanes), inputs)


@pytest.mark.parametrize("lanes", [1, 3, 6])
@pytest.mark.parametrize("kind", ["signed", "unsigned"])
def test_the_first_of_equal_scores_wins(lanes: int, kind: Kind) -> None:
    low = -1 if kind == "signed" else 0
    inputs = np.random.default_rng(1).integers(low, low + 2, (40, 6), dtype=np.int64)
    check(Argmax(6, 2, kind, lanes), inputs)


def test_extremes_compare_as_numbers() -> None:
    inputs = np.array([[-128, 127], [127, -128], [-128, -127], [-1, 0], [-128, -128]])
    check(Argmax(2, 8), inputs)
    check(Argmax(2, 8, lanes=2), inputs)
    check(Argmax(2, 8, "unsigned"), np.array([[255, 0], [0, 255], [128, 127]]))


def test_a_frame_forgets_the_frame_before() -> None:
    inputs = np.array([[100, 0, 0], [-5, -4, -6], [-9, -9, -8]])
    assert simulate(Argmax(3, 8), inputs).outputs.tolist() == [[0], [1], [2]]


def test_swapped_lanes_change_the_answer() -> None:
    inputs = np.array([[1, 2, 3, 0]])
    swapped = inputs[:, [0, 2, 1, 3]]
    unit = Argmax(4, 3, lanes=2)
    assert simulate(unit, inputs).outputs.tolist() == [[2]]
    assert simulate(unit, swapped).outputs.tolist() == [[1]]


@settings(max_examples=12, deadline=None)
@given(lanes=st.integers(1, 5), beats=st.integers(1, 4), width=st.integers(1, 6), seed=st.integers(0, 99))
def test_any_small_shape(lanes: int, beats: int, width: int, seed: int) -> None:
    unit = Argmax(max(2, lanes * beats), width, lanes=lanes if lanes * beats > 1 else 1)
    port = unit.input
    check(unit, np.random.default_rng(seed).integers(port.low, port.high + 1, (6, unit.classes), dtype=np.int64))


def test_the_output_is_as_narrow_as_the_classes_allow() -> None:
    assert Argmax(10, 8).output == Port(4, "unsigned", 1, 1)
    assert Argmax(2, 8).output == Port(1, "unsigned", 1, 1)
    assert Argmax(16, 8).output.width == 4


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="at least 2 classes"):
        Argmax(1, 8)
    with pytest.raises(ValueError, match="must divide"):
        Argmax(10, 8, lanes=3)
    with pytest.raises(ValueError, match="bipolar"):
        Argmax(10, 1, "bipolar")
    with pytest.raises(ValueError, match="at least 1"):
        Argmax(10, 0)
