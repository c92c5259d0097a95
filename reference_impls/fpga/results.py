"""Accepted hardware results: one small JSON file per method and network, and the comparison of a new run with it.

`results/fpga/<network>/<record id>.json` holds what `Hardware` holds. This module needs neither torch nor Amaranth:
the site is made from these files.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reference_impls.kit.files import write_whole

TOLERANCE = 3.0  # points of accuracy that training may differ by from one processor to another
LUT_TOLERANCE = 0.1  # and how far cell counts may follow the weights


@dataclass(frozen=True)
class Unit:
    """One unit of a pipeline: what it is, and its cycles by the model."""

    label: str
    interval: int
    latency: int


@dataclass(frozen=True)
class Gates:
    """What a design costs on an ECP5, by synthesis.

    Attributes:
        lut: look-up tables of 4 inputs with logic in them.
        ff: flip-flops.
        carry: carry cells of 2 bits.
        bram: block memories of 18 kbit.
        dsp: multiplier blocks.
        logic: look-up-table positions that logic, carry chains and LUT memories fill together.
    """

    lut: int
    ff: int
    carry: int
    bram: int
    dsp: int
    logic: int


@dataclass(frozen=True)
class Speed:
    """How fast a placed and routed design may be clocked.

    Attributes:
        fmax: MHz, the median over the placer's seeds.
        every: MHz for each seed.
        seeds: of the placer.
        constraint: MHz that the tools were asked for.
        device: name, package and speed grade.
    """

    fmax: float
    every: tuple[float, ...]
    seeds: tuple[int, ...]
    constraint: float
    device: str


@dataclass(frozen=True)
class Hardware:
    """A trained toy network as hardware.

    Attributes:
        network: "mlp" or "cnn".
        seed: of the training.
        bits: of the hidden layer, such as w1a2.
        note: what is not the method's own.
        images: test images that were simulated.
        accuracy: test accuracy in percent: of torch, of the integer model, of the simulated hardware.
        differences: images for which any activation of the model or any output of the hardware differs from torch's.
        simulator: "verilator" or "pysim".
        interval: cycles from one image to the next: of the model, and measured.
        latency: cycles from the first pixel to the class, measured.
        units: the pipeline in order.
        gates: cells; None where no synthesis tool is installed.
        speed: clock; None where nothing was placed.
        versions: of torch and of all tools.
    """

    network: str
    seed: int
    bits: str
    note: str
    images: int
    accuracy: tuple[float, float, float]
    differences: int
    simulator: str
    interval: tuple[int, float]
    latency: int
    units: tuple[Unit, ...]
    gates: Gates | None = None
    speed: Speed | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def images_per_second(self) -> float | None:
        """Images a second at the highest clock; None where nothing was placed."""
        return None if self.speed is None else self.speed.fmax * 1e6 / self.interval[1]

    @property
    def exact(self) -> bool:
        """Whether every image and every cycle is as torch and the model say."""
        return self.differences == 0 and self.interval[0] == self.interval[1] and len(set(self.accuracy)) == 1


def result_path(home: Path, network: str, record: str) -> Path:
    """Return the path of an accepted result below the folder of the implementations."""
    return home / "results" / "fpga" / network / f"{record}.json"


def to_json(result: Hardware) -> str:
    """Return the file's text."""
    return json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> Hardware:
    """Return the result in a file's text.

    Raises:
        ValueError: if the text is not such a file.
    """
    try:
        data: dict[str, Any] = json.loads(text)
        data["units"] = tuple(Unit(**unit) for unit in data["units"])
        data["gates"] = None if data["gates"] is None else Gates(**data["gates"])
        if data["speed"] is not None:
            lists = {key: tuple(data["speed"][key]) for key in ("every", "seeds")}
            data["speed"] = Speed(**{**data["speed"], **lists})
        first, second, third = data["accuracy"]
        model, measured = data["interval"]
        return Hardware(**{**data, "accuracy": (first, second, third), "interval": (model, measured)})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a hardware result ({error}); qkb reproduce --target fpga --accept writes one") from error


def read(path: Path) -> Hardware:
    """Read a result; ValueError if it is not one, FileNotFoundError if there is none."""
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def write(path: Path, result: Hardware) -> None:
    """Write a result whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, to_json(result))


def drift(accepted: Hardware, measured: Hardware) -> list[str]:
    """Say how a new measurement differs from the accepted one; an empty list when it does not.

    Exactness is no matter of degree: a single image or cycle that differs is drift. Accuracy and cell counts follow the
    trained weights, which differ a little from one processor to another.
    """
    found = []
    if measured.differences:
        found.append(f"{measured.differences} of {measured.images} images differ between torch, model and hardware")
    if measured.interval[0] != measured.interval[1]:
        found.append(f"an image takes {measured.interval[1]:g} cycles, and the model says {measured.interval[0]}")
    for name in ("network", "seed", "bits", "note", "interval", "latency"):
        old, new = getattr(accepted, name), getattr(measured, name)
        if old != new:
            found.append(f"{name} was {old}, now {new}")
    if abs(accepted.accuracy[0] - measured.accuracy[0]) > TOLERANCE:
        found.append(f"accuracy was {accepted.accuracy[0]:.1f} %, now {measured.accuracy[0]:.1f} %")
    if accepted.gates is not None and measured.gates is not None:
        for name in ("lut", "ff", "bram", "dsp"):
            old, new = getattr(accepted.gates, name), getattr(measured.gates, name)
            if abs(new - old) > max(2, LUT_TOLERANCE * old):
                found.append(f"{name} was {old}, now {new}")
    return found
