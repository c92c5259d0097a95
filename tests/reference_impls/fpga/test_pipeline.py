from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reference_impls.fpga.argmax import Argmax
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.pipeline import Pipeline
from reference_impls.fpga.ports import IntArray
from reference_impls.fpga.simulate import simulate
from reference_impls.fpga.stream import Fifo, Skid, WidthConverter
from reference_impls.fpga.threshold import Threshold


def signs(seed: int, *shape: int) -> IntArray:
    return np.random.default_rng(seed).choice(np.array([-1, 1]), size=shape)


def network(first: tuple[int, int], second: tuple[int, int]) -> Pipeline:
    """Return 16 -> 8 -> 4 on signs with a threshold between and an argmax behind, folded (PE, SIMD)."""
    one = MatrixVector(signs(1, 8, 16), 1, "bipolar", *first)
    limits = np.random.default_rng(3).integers(-3, 4, (8, 1))
    between = Threshold(limits, (-1, 1), one.output.width, one.output.kind, np.arange(8) % 3 == 0, first[0])
    two = MatrixVector(signs(2, 4, 8), 1, "bipolar", *second)
    return Pipeline((one, between, two, Argmax(4, two.output.width, two.output.kind, second[0])))


def by_hand(frames: IntArray) -> IntArray:
    """Return the classes by plain numpy."""
    sums = frames @ signs(1, 8, 16).T
    limits = np.random.default_rng(3).integers(-3, 4, (8, 1))[:, 0]
    falls = np.arange(8) % 3 == 0
    hidden = np.where((sums >= limits) ^ falls, 1, -1)
    classes: IntArray = (hidden @ signs(2, 4, 8).T).argmax(axis=1)[:, None]
    return classes


FOLDINGS = [((1, 4), (1, 2)), ((2, 2), (2, 4)), ((4, 8), (1, 8)), ((8, 16), (4, 8)), ((2, 16), (4, 1))]


@pytest.mark.parametrize(("first", "second"), FOLDINGS)
def test_outputs_and_cycles_at_every_folding(first: tuple[int, int], second: tuple[int, int]) -> None:
    pipeline = network(first, second)
    frames = signs(0, 12, 16)
    run = simulate(pipeline, frames)
    assert np.array_equal(run.outputs, by_hand(frames))
    assert np.array_equal(pipeline.model(frames), by_hand(frames))
    assert run.interval == pipeline.interval
    assert run.latency >= pipeline.latency
    pe, simd = first
    assert pipeline.interval == max((8 // pe) * (16 // simd), (4 // second[0]) * (8 // second[1]), 8 // pe)


@pytest.mark.parametrize(("first", "second"), FOLDINGS[:3])
def test_random_stalls_change_nothing_but_time(first: tuple[int, int], second: tuple[int, int]) -> None:
    frames = signs(5, 8, 16)
    free = simulate(network(first, second), frames)
    stalled = simulate(network(first, second), frames, stall=0.4, seed=1)
    assert np.array_equal(stalled.outputs, by_hand(frames))
    assert stalled.cycles > free.cycles


def test_a_fifo_too_small_shows_in_the_interval_alone() -> None:
    pipeline = network((1, 4), (1, 1))
    assert pipeline.depths is None
    frames = signs(0, 10, 16)
    full, starved = simulate(pipeline, frames), simulate(replace(pipeline, depths=(0, 0, 1, 0)), frames)
    assert full.interval == pipeline.interval
    assert np.array_equal(starved.outputs, full.outputs)
    assert starved.interval > full.interval


def test_one_flipped_weight_shows_in_model_and_hardware() -> None:
    pipeline = network((2, 2), (2, 4))
    frames = signs(0, 24, 16)
    for index in (0, 2):
        layer = pipeline.stages[index]
        assert isinstance(layer, MatrixVector)
        weights = layer.weights.copy()
        weights[:, 0] *= -1
        stages = (*pipeline.stages[:index], replace(layer, weights=weights), *pipeline.stages[index + 1 :])
        changed = Pipeline(stages)
        assert not np.array_equal(changed.model(frames), pipeline.model(frames))
        assert np.array_equal(simulate(changed, frames).outputs, changed.model(frames))


def test_chain_names_what_joins_the_stages() -> None:
    chain = network((2, 2), (2, 4)).chain
    kinds = [type(unit) for unit in chain]
    assert kinds == [Skid, MatrixVector, Threshold, WidthConverter, Fifo, MatrixVector, Argmax]
    fifo = chain[4]
    assert isinstance(fifo, Fifo)
    assert fifo.depth == 2  # the consumer's SF: 8 columns by SIMD 4


def test_trace_ends_with_the_model() -> None:
    pipeline = network((2, 2), (2, 4))
    frames = signs(0, 3, 16)
    trace = pipeline.trace(frames)
    assert len(trace) == 4
    assert np.array_equal(trace[0], frames @ signs(1, 8, 16).T)
    assert np.array_equal(trace[-1], pipeline.model(frames))


def test_a_pipeline_is_a_stage_of_another() -> None:
    pipeline = network((2, 2), (2, 4))
    outer = Pipeline((Pipeline(pipeline.stages[:2]), Pipeline(pipeline.stages[2:])))
    frames = signs(0, 6, 16)
    assert np.array_equal(simulate(outer, frames).outputs, by_hand(frames))
    assert outer.label == pipeline.label
    assert (outer.input, outer.output, outer.depth) == (pipeline.input, pipeline.output, pipeline.depth)


def test_stages_that_do_not_fit_are_refused() -> None:
    one = MatrixVector(signs(1, 8, 16), 1, "bipolar", 2, 2)
    two = MatrixVector(signs(2, 4, 8), 1, "bipolar", 2, 4)
    with pytest.raises(ValueError, match=r"sends 8 elements of 6 bits, signed; .* takes 8 of 1 bits, bipolar"):
        Pipeline((one, two))
    with pytest.raises(ValueError, match="at least one stage"):
        Pipeline(())
    with pytest.raises(ValueError, match="as many FIFO depths, not 2"):
        Pipeline((one,), (1, 2))
