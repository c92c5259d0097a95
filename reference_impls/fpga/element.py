r"""What a dot-product element is: the protocol, and what most elements share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reference_impls.fpga.adders import base, gain
from reference_impls.fpga.ports import IntArray, Kind, Port, smallest


class Dot(Protocol):
    """What a matrix-vector unit needs from an element; `width` and `kind` are those of an activation."""

    @property
    def width(self) -> int:
        """Bits of an activation."""

    @property
    def kind(self) -> Kind:
        """Kind of an activation."""

    @property
    def label(self) -> str:
        """Name for tables."""

    @property
    def bits(self) -> int:
        """Bits of a weight's code, in one cycle."""

    @property
    def cycles(self) -> int:
        r"""Passes over a row.

        More than one means digits of base two, the most significant first and counted negatively:
        $v = -2^{c-1} v_0 + \sum_{t \ge 1} 2^{c-1-t} v_t$. The accumulator doubles between passes.
        """

    def encode(self, weights: IntArray) -> IntArray:
        """Return the codes, (cycles, *weights.shape), `bits` bits each.

        Raises:
            ValueError: if a weight is not among those that the element can hold.
        """

    def offset(self, weights: IntArray) -> IntArray:
        """Return what is missing from `g` times the sum of outputs, (rows,), for weights (rows, columns)."""

    def result(self, lanes: int) -> tuple[int, Kind]:
        """Return width and kind of the output for so many lanes."""

    def build(self, m: Any, inputs: Sequence[Any], codes: Sequence[Any]) -> Any:
        """Add combinational logic to the module; return the output for activations and codes as they come."""


@dataclass(frozen=True)
class Element:
    """What elements share unless they say otherwise: one pass, raw activations.

    Attributes:
        width: bits of an activation.
        kind: kind of an activation.
    """

    width: int
    kind: Kind

    def __post_init__(self) -> None:
        """Raise ValueError for an activation that cannot be."""
        Port(self.width, self.kind, 1, 1)

    @property
    def cycles(self) -> int:
        """One pass."""
        return 1

    @property
    def ones(self) -> int:
        """The greatest raw activation: all its bits set."""
        return (1 << self.width) - 1

    def result(self, lanes: int) -> tuple[int, Kind]:
        """Return width and kind: every lane at its greatest."""
        return smallest(0, lanes * self.ones)

    def correction(self, weights: IntArray, turned: IntArray | int = 0) -> IntArray:
        """Return what raw activations leave out, less g times what turning bits over has added.

        Args:
            weights: (rows, columns).
            turned: (rows,), the sum of what each negative term has too much.
        """
        found: IntArray = base(self.width, self.kind) * weights.sum(axis=-1) - gain(self.kind) * np.asarray(turned)
        return found


def refuse(weights: IntArray, fits: NDArray[np.bool_], what: str) -> None:
    """Raise ValueError, naming the first weight that does not fit, unless all do."""
    if not fits.all():
        raise ValueError(f"{what}, not {int(weights[~fits].flat[0])}: choose() finds an element that does")
