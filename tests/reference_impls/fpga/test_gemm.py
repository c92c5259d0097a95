from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.fpga.gemm import SystolicArray
from reference_impls.fpga.ports import IntArray, Port
from reference_impls.fpga.simulate import simulate


def matrices(m: int, k: int, n: int, width: int = 8, seed: int = 0) -> tuple[IntArray, IntArray]:
    random = np.random.default_rng(seed)
    low, high = -(1 << (width - 1)), 1 << (width - 1)
    return random.integers(low, high, (m, k), dtype=np.int64), random.integers(low, high, (k, n), dtype=np.int64)


@pytest.mark.parametrize(("rows", "columns", "vectors"), [(1, 1, 1), (4, 4, 6), (2, 5, 3), (6, 2, 1), (3, 1, 4)])
def test_tiles_follow_each_other_in_the_promised_cycles(rows: int, columns: int, vectors: int) -> None:
    unit = SystolicArray(rows, columns, vectors)
    random = np.random.default_rng(0)
    frames = random.integers(-128, 128, (8, unit.input.elements), dtype=np.int64)
    right = []
    for frame in frames:
        weights = frame[: rows * columns].reshape(columns, rows)
        activations = frame[rows * columns :].reshape(vectors, rows)
        right.append([sum(int(a) * int(w) for a, w in zip(x, y, strict=True)) for x in activations for y in weights])
    assert unit.model(frames).tolist() == right
    run = simulate(unit, frames)
    assert run.outputs.tolist() == right
    assert run.interval == unit.interval == columns + vectors
    assert run.latency == unit.latency
    assert run.cycles == 8 * unit.interval + rows + columns
    assert simulate(unit, frames, stall=0.4, seed=3).outputs.tolist() == right


@pytest.mark.parametrize(("m", "k", "n"), [(5, 9, 7), (4, 3, 3), (1, 1, 1), (9, 2, 4), (3, 8, 1)])
def test_a_product_of_any_size_in_hardware(m: int, k: int, n: int) -> None:
    unit = SystolicArray(3, 4, 4)
    activations, weights = matrices(m, k, n)
    counted = []

    def hardware(frames: IntArray) -> IntArray:
        run = simulate(unit, frames)
        counted.append(run.cycles)
        return run.outputs

    assert np.array_equal(unit.matmul(activations, weights, hardware), activations @ weights)
    assert counted == [unit.cycles(m, k, n)]
    assert len(unit.split(activations, weights)) == unit.tiles(m, k, n)


@settings(max_examples=30, deadline=None)
@given(
    array=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)),
    sizes=st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12)),
)
def test_tiling_multiplies(array: tuple[int, int, int], sizes: tuple[int, int, int]) -> None:
    unit = SystolicArray(*array)
    activations, weights = matrices(*sizes)
    assert np.array_equal(unit.matmul(activations, weights), activations @ weights)


def test_the_greatest_sums_fit() -> None:
    unit = SystolicArray(4, 2, 2)
    assert unit.output == Port(18, "signed", 2, 2)  # 4 * 2^14 = 2^16 needs 18 bits
    frames = np.full((2, unit.input.elements), -128)
    frames[1, : unit.rows * unit.columns] = 127
    assert simulate(unit, frames).outputs.tolist() == [[65536] * 4, [-65024] * 4]


def test_one_changed_weight_shows_in_its_column() -> None:
    unit = SystolicArray(3, 4, 2)
    activations, weights = matrices(2, 3, 4)
    changed = weights.copy()
    changed[1, 2] ^= 1
    frames = np.vstack([unit.split(activations, weights), unit.split(activations, changed)])
    outputs = simulate(unit, frames).outputs.reshape(2, 2, 4)
    difference = outputs[1] - outputs[0]
    sign = int(changed[1, 2] - weights[1, 2])
    assert difference[:, 2].tolist() == (sign * activations[:, 1]).tolist()
    assert not difference[:, [0, 1, 3]].any()


def test_utilisation_counts_idle_cells_and_weight_loads() -> None:
    unit = SystolicArray(8, 8, 64)
    assert unit.utilisation(64, 8, 8) == 64 * 64 / (64 * (72 + 16))
    assert unit.utilisation(64, 72, 8) == 64 * 72 * 8 / (64 * (9 * 72 + 16))  # a dense 3 x 3 convolution, 8 to 8
    assert unit.utilisation(64, 9, 1, groups=8) == 8 * 64 * 9 / (64 * (8 * 2 * 72 + 16))  # the same, depthwise


def test_each_tile_costs_its_weights_and_its_vectors() -> None:
    unit = SystolicArray(4, 4, 10)
    assert unit.cycles(10, 8, 4) - unit.cycles(10, 4, 4) == unit.interval == 14
    assert [unit.tiles(11, 4, 4), unit.tiles(10, 5, 4), unit.tiles(10, 4, 5)] == [2, 2, 2]


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SystolicArray(0, 1, 1)
    with pytest.raises(ValueError, match=r"width in 2\.\.16"):
        SystolicArray(1, 1, 1, width=1)
    unit = SystolicArray(2, 2, 2)
    with pytest.raises(ValueError, match="inner sizes"):
        unit.split(np.ones((2, 3), dtype=np.int64), np.ones((2, 3), dtype=np.int64))
    with pytest.raises(ValueError, match="at least 1"):
        unit.cycles(0, 1, 1)
    with pytest.raises(ValueError, match="does not fit"):
        unit.matmul(np.full((1, 1), 200), np.ones((1, 1), dtype=np.int64), lambda x: simulate(unit, x).outputs)
