from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from reference_impls.fpga.gemm import SystolicArray
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.ports import IntArray
from reference_impls.fpga.simulate import simulate
from reference_impls.fpga.stream import Fifo
from reference_impls.hardware import cnn_fpga_survey as survey
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic


def weights(seed: int = 0) -> tuple[IntArray, IntArray]:
    random = np.random.default_rng(seed)
    return random.integers(-3, 4, (4, 9)), random.integers(-3, 4, (8, 36))


def images(count: int) -> IntArray:
    return np.random.default_rng(9).integers(-8, 9, (count, 64))


def by_hand(x: IntArray, first: IntArray, second: IntArray) -> list[int]:
    """Two convolutions of one image by loops; the filters hold taps before channels."""
    early = np.zeros((6, 6, 4), dtype=np.int64)
    for row, column, n in np.ndindex(6, 6, 4):
        taps = product(range(3), range(3))
        early[row, column, n] = sum(int(x[8 * (row + i) + column + j]) * int(first[n, 3 * i + j]) for i, j in taps)
    early = np.array([min(15, max(0, (int(a) + 4) // 8)) for a in early.ravel()]).reshape(6, 6, 4)
    late = np.zeros((4, 4, 8), dtype=np.int64)
    for row, column, n in np.ndindex(4, 4, 8):
        for i, j, c in np.ndindex(3, 3, 4):
            late[row, column, n] += early[row + i, column + j, c] * second[n, 12 * i + 4 * j + c]
    found: list[int] = late.ravel().tolist()
    return found


def test_workloads_are_those_of_the_loops() -> None:
    layer = survey.Layer(4, 3, 5, 6, 7)
    assert layer.weights == sum(1 for _ in product(range(4), range(3), range(5), range(5)))
    assert layer.multiplications == layer.weights * 42
    connected = survey.Layer(10, 20)
    assert connected.weights == connected.multiplications == 200


@pytest.mark.parametrize(("sizes", "factors"), [((4, 8), (2, 4)), ((5, 7, 3), (2, 3, 3)), ((1, 9), (4, 2))])
def test_unrolled_cycles_are_the_steps_of_the_loops(sizes: tuple[int, ...], factors: tuple[int, ...]) -> None:
    steps = product(*(range(0, size, factor) for size, factor in zip(sizes, factors, strict=True)))
    assert survey.unrolled_cycles(sizes, factors) == sum(1 for _ in steps)
    with pytest.raises(ValueError, match="zip"):
        survey.unrolled_cycles((1, 2), (1,))


@pytest.mark.parametrize(("outputs", "pixels"), [(1, 1), (2, 3), (4, 2), (5, 7), (3, 5)])
def test_traffic_is_what_the_tiled_loops_move(outputs: int, pixels: int) -> None:
    layer = survey.Layer(5, 3, 3, 6, 7)
    moved = 0
    for top, left in product(range(0, 6, pixels), range(0, 7, pixels)):
        for first in range(0, 5, outputs):
            here = range(first, min(5, first + outputs))
            for _ in range(layer.channels):
                moved += (pixels + 2) ** 2  # a tile of the input, border included
                moved += 9 * len(here)
            moved += len(here) * len(range(top, min(6, top + pixels))) * len(range(left, min(7, left + pixels)))
    assert survey.traffic(layer, outputs, pixels) == moved
    assert survey.buffer(layer, outputs, pixels) == (pixels + 2) ** 2 + 9 * outputs + outputs * pixels * pixels


def test_the_best_ratio_is_that_of_the_best_tiling_that_fits() -> None:
    layer = survey.Layer(5, 3, 3, 6, 7)
    tilings = list(product(range(1, 6), range(1, 8)))
    for room in (19, 80, 81, 200, 10**6):
        ratios = [
            layer.multiplications / survey.traffic(layer, *tiling)
            for tiling in tilings
            if survey.buffer(layer, *tiling) <= room
        ]
        assert survey.best_ratio(layer, room) == pytest.approx(max(ratios))
    assert survey.best_ratio(layer, 10**6) == pytest.approx(5670 / (210 + 135 + 3 * 81))  # all in one tile
    exact = survey.buffer(layer, 5, 7)
    assert survey.best_ratio(layer, exact) == survey.best_ratio(layer, 10**6) > survey.best_ratio(layer, exact - 1)
    for tall_or_wide in (survey.Layer(50, 1, 3, 9, 2), survey.Layer(50, 1, 3, 2, 9)):  # one tile of 9 x 9
        assert survey.best_ratio(tall_or_wide, 10**6) == pytest.approx(50 * 9 * 18 / (900 + 450 + 121))


def test_the_roofline_has_a_slope_and_a_ceiling() -> None:
    assert survey.attainable(16, 8, 1) == 8
    assert survey.attainable(16, 8, 2) == 16
    assert survey.attainable(16, 8, 4) == 16


@pytest.mark.parametrize(("pe", "bandwidth"), [(1, 1), (8, 1), (8, 2), (4, 4)])
def test_simulated_throughput_lies_on_the_roofline(pe: int, bandwidth: int) -> None:
    matrix = weights()[1][:, :16]
    assert survey.throughput(matrix, pe, bandwidth) == survey.attainable(4 * pe, 8, bandwidth)


def test_unrolling_errors_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = weights()[1]
    settings = ((2, 6), (8, 36), (4, 4))
    assert survey.unrolling_error(matrix, settings) == 0
    asked: list[Any] = []

    def off(sizes: tuple[int, ...], factors: tuple[int, ...]) -> int:
        asked.append((sizes, factors))
        return 4 * (8 // factors[1]) * (36 // factors[2]) + factors[1]

    monkeypatch.setattr(survey, "unrolled_cycles", off)
    assert survey.unrolling_error(matrix, settings) == 8
    assert asked == [((4, 8, 36), (1, pe, simd)) for pe, simd in settings]


def test_the_stream_computes_both_convolutions_in_the_cycles_of_its_slowest_unit() -> None:
    first, second = weights(1)
    first[0] = 3  # on a bright image its activations pass 15
    pipeline = survey.streaming(first, second)
    x = images(3)
    x[1] = 8
    right = [by_hand(image, first, second) for image in x]
    assert survey.right_outputs(x, first, second).tolist() == right
    run = simulate(pipeline, x)
    assert run.outputs.tolist() == right
    assert run.interval == pipeline.interval == 9 * 36
    lanes = [unit.pe * unit.simd for unit in pipeline.stages if isinstance(unit, MatrixVector)]
    assert lanes == [4, 16]


def test_random_stalls_do_not_change_the_stream() -> None:
    first, second = weights(2)
    x = images(1)
    run = simulate(survey.streaming(first, second), x, stall=0.3, seed=1)
    assert run.outputs[0].tolist() == by_hand(x[0], first, second)


def test_one_changed_weight_shows_in_one_channel() -> None:
    first, second = weights(3)
    x = images(4)
    before = survey.streaming(first, second).model(x).reshape(4, 16, 8)
    second[5, 7] += 1
    after = survey.streaming(first, second).model(x).reshape(4, 16, 8)
    assert (before != after).any(axis=(0, 1)).tolist() == [n == 5 for n in range(8)]
    assert (survey.right_outputs(x, first, second).reshape(4, 16, 8) == after).all()


def test_storage_counts_lines_fifos_and_vectors() -> None:
    pipeline = survey.streaming(*weights())
    windows, early, _, late_windows, late = pipeline.stages
    assert isinstance(early, MatrixVector)
    assert isinstance(late, MatrixVector)
    lines = 5 * getattr(windows, "buffer", 0) + 16 * getattr(late_windows, "buffer", 0)
    assert lines == 5 * 64 + 16 * 64
    fifos = sum(unit.depth * unit.port.bits for unit in pipeline.chain if isinstance(unit, Fifo))
    assert fifos == 9 * 5 + 9 * 16
    assert survey.storage(pipeline) == lines + fifos + 9 * 5 + 9 * 16


def test_arrays_have_all_shapes_and_the_best_is_the_fastest() -> None:
    found = list(survey.arrays(6, (4, 5)))
    assert [(a.rows, a.columns, a.vectors) for a in found] == [
        (rows, 6 // rows, v) for rows in (1, 2, 3, 6) for v in (4, 5)
    ]
    assert {a.vectors for a in survey.arrays(2)} == {4, 8, 12, 16, 18, 36}
    shapes = ((36, 9, 4), (16, 36, 8))
    best = survey.best_array(20, shapes)

    def cycles(array: SystolicArray) -> int:
        return sum(
            -(-m // array.vectors) * -(-k // array.rows) * -(-n // array.columns) * (array.vectors + array.columns)
            for m, k, n in shapes
        )

    assert cycles(best) == min(cycles(array) for array in survey.arrays(20))
    assert best.rows * best.columns == 20


def test_matrix_products_compute_the_same_image_after_image() -> None:
    first, second = weights(1)
    x = images(2)
    outputs, cycles, bits = survey.as_matrix_products(survey.streaming(first, second), x)
    assert outputs.tolist() == [by_hand(image, first, second) for image in x]
    shapes = ((36, 9, 4), (16, 36, 8))
    array = survey.best_array(20, shapes)
    assert cycles == sum(array.tiles(*shape) for shape in shapes) * array.interval
    assert bits == max(36 * 9 * 5, 16 * 36 * 4)


def test_alexnet_has_its_published_workload() -> None:
    convolutions = [layer.multiplications for layer in survey.CONVOLUTIONS]
    assert [round(macs / 1e6, 1) for macs in convolutions] == [105.4, 223.9, 149.5, 112.1, 74.8]
    assert sum(layer.weights for layer in survey.CONVOLUTIONS) == pytest.approx(2.3e6, abs=5e4)
    assert sum(layer.weights for layer in survey.CONNECTED) == pytest.approx(58.6e6, abs=5e4)


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = np.random.default_rng(1).integers(-3, 4, (4, 9)), None
    seen: dict[str, Any] = {}
    pipeline_of, right_of = survey.streaming, survey.right_outputs

    def watched(a: IntArray, b: IntArray) -> Any:
        seen["weights"] = (a, b)
        return pipeline_of(a, b)

    def products(pipeline: Any, x: IntArray) -> tuple[IntArray, float, int]:
        seen["images"] = x
        outputs = pipeline.model(x)
        outputs[0, :2] += 1
        return outputs, 396.0, 2304

    def right(x: IntArray, a: IntArray, b: IntArray) -> IntArray:
        outputs = right_of(x, a, b)
        outputs[2, 100] -= 1
        return outputs

    def error(matrix: IntArray, settings: Any) -> float:
        seen["settings"] = (matrix, settings)
        return 0.5

    def throughput(matrix: IntArray, pe: int, bandwidth: int) -> float:
        seen.setdefault("roofline", []).append((matrix.shape, pe, bandwidth))
        return min(4.0 * pe, 8.0 * bandwidth) - 0.25 * (pe == 8)

    monkeypatch.setattr(survey, "streaming", watched)
    monkeypatch.setattr(survey, "as_matrix_products", products)
    monkeypatch.setattr(survey, "right_outputs", right)
    monkeypatch.setattr(survey, "unrolling_error", error)
    monkeypatch.setattr(survey, "throughput", throughput)
    metrics = survey.reproduce(1)
    assert second is None
    assert seen["weights"][0].tolist() == first.tolist()
    assert (seen["weights"][1].min(), seen["weights"][1].max(), seen["weights"][1].shape) == (-3, 3, (8, 36))
    assert seen["images"].shape == (3, 64)
    assert (int(seen["images"].min()), int(seen["images"].max())) == (-8, 8)
    assert seen["settings"][0] is seen["weights"][1]
    assert seen["settings"][1] == ((1, 4), (2, 6), (4, 12), (8, 36))
    assert seen["roofline"] == [((8, 16), pe, width) for pe in (1, 2, 4, 8) for width in (1, 2, 4)]
    assert metrics["wrong_outputs"] == 1 + 2 + 1
    assert metrics["streaming_cycles"] == 324
    assert (metrics["gemm_cycles"], metrics["im2col_bits"]) == (396, 2304)
    assert metrics["streaming_bits"] == survey.storage(pipeline_of(*seen["weights"]))
    assert (metrics["unrolling_error"], metrics["roofline_error"]) == (0.5, 0.25)
    assert metrics["ratio_of_convolution"] == survey.best_ratio(survey.CONVOLUTIONS[1], 32768)
    assert metrics["ratio_of_fully_connected"] == pytest.approx(4096**2 / (4096**2 + 2 * 4096))
    assert metrics["alexnet_convolution_mmacs"] == pytest.approx(665.784864)
    assert metrics["alexnet_convolution_share"] == pytest.approx(91.9, abs=0.05)
    assert metrics["alexnet_connected_weights"] == pytest.approx(96.17, abs=0.05)
    named = {name for claim in survey.CLAIMS for name in (claim.metric, *_baseline(claim))}
    assert named == set(metrics)
    assert survey.QUANTIZERS == ()


def _baseline(claim: object) -> list[str]:
    named = claim.expected if isinstance(claim, Exact) else getattr(claim, "baseline", None)
    return [named] if isinstance(named, str) else []


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(survey.RECORD))
    with deterministic(0):
        metrics = survey.reproduce(0)
    assert {name: pytest.approx(value, rel=1e-4) for name, value in metrics.items()} == {
        name: values[0] for name, values in accepted.metrics.items()
    }
