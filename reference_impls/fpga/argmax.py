r"""The class with the greatest score, the first one where several are equal.

A running maximum over the beats of a frame, as FINN's label selection does for one class a frame; what leaves is the
class's number, so the scores need no scale and no softmax.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.hdl import Const, Elaboratable, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reference_impls.fpga.delay import delay
from reference_impls.fpga.ports import IntArray, Kind, Port


@dataclass(frozen=True)
class Argmax:
    r"""Return the index of the greatest of `classes` scores.

    Contract:
        Input: `classes` scores a frame, `lanes` a beat.
        Output: one beat of one unsigned element, the smallest that holds `classes - 1`.
        Interval: one cycle a beat, `classes / lanes`.
        Latency: `classes / lanes` cycles, and $\lceil \log_2 \text{lanes} \rceil$ for the tree that finds a beat's
            winner, with a register after each level.

    Attributes:
        classes: scores of a frame, at least 2.
        width: bits of a score.
        kind: "signed" or "unsigned" scores.
        lanes: scores of a beat; divides the classes.
    """

    classes: int
    width: int
    kind: Kind = "signed"
    lanes: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError for parameters that do not fit together."""
        if self.classes < 2:
            raise ValueError(f"argmax needs at least 2 classes, not {self.classes}")
        if self.lanes < 1 or self.classes % self.lanes:
            raise ValueError(f"lanes {self.lanes} must divide the {self.classes} classes")
        if self.kind == "bipolar":
            raise ValueError("scores are signed or unsigned; of bipolar scores nearly all would be equal")
        _ = self.input  # refuses widths below 1

    @property
    def label(self) -> str:
        """What it is, with its folding."""
        return f"argmax of {self.classes} (PE {self.lanes})"

    @property
    def input(self) -> Port:
        """Scores."""
        return Port(self.width, self.kind, self.lanes, self.classes // self.lanes)

    @property
    def output(self) -> Port:
        """The class."""
        return Port((self.classes - 1).bit_length(), "unsigned", 1, 1)

    @property
    def interval(self) -> int:
        """One cycle a beat."""
        return self.input.beats

    @property
    def latency(self) -> int:
        """All beats, and the levels of the tree over the lanes."""
        return self.input.beats + (self.lanes - 1).bit_length()

    @property
    def depth(self) -> int:
        """No FIFO: it never makes its producer wait."""
        return 0

    def model(self, frames: IntArray) -> IntArray:
        """Compute on integers: (frames, classes) to (frames, 1)."""
        found: IntArray = np.argmax(frames, axis=1, keepdims=True).astype(np.int64)
        return found

    def build(self) -> Any:
        """Return the component: stream `i` in, stream `o` out."""
        return _Argmax(self)


class _Argmax(wiring.Component):
    def __init__(self, unit: Argmax) -> None:
        self.unit = unit
        super().__init__({"i": In(unit.input.signature()), "o": Out(unit.output.signature())})

    def elaborate(self, platform: Any) -> Elaboratable:  # noqa: ARG002  Amaranth's signature
        m, unit = Module(), self.unit
        move = Signal()  # the whole unit moves, or nothing does
        m.d.comb += [move.eq(~self.o.valid | self.o.ready), self.i.ready.eq(move)]

        valid: Any = self.i.valid
        field = [(unit.input.lane(self.i.payload, index), Const(index)) for index in range(unit.lanes)]
        while len(field) > 1:  # a level of the tree; of equal scores the lower lane's wins
            level = [self._greater(low, high) for low, high in zip(field[::2], field[1::2], strict=False)]
            level += field[len(level) * 2 :]
            valid = delay(m, move, valid)
            field = [(delay(m, move, score), delay(m, move, lane)) for score, lane in level]
        score, lane = field[0]

        beats = unit.input.beats
        beat, best, index = Signal(range(max(2, beats))), Signal.like(score), Signal.like(self.o.payload)
        wins, winner, last = Signal(), Signal.like(self.o.payload), Signal()
        m.d.comb += [
            wins.eq((beat == 0) | (score > best)),
            winner.eq(Mux(wins, beat * unit.lanes + lane, index)),
            last.eq(beat == beats - 1),
        ]
        with m.If(move):
            m.d.sync += self.o.valid.eq(valid & last)
            with m.If(valid):
                m.d.sync += [beat.eq(Mux(last, 0, beat + 1)), index.eq(winner), self.o.payload.eq(winner)]
                with m.If(wins):
                    m.d.sync += best.eq(score)
        return m

    @staticmethod
    def _greater(low: tuple[Any, Any], high: tuple[Any, Any]) -> tuple[Any, Any]:
        """Return score and lane of the greater of two scores, the first of them where they are equal."""
        later = high[0] > low[0]
        return Mux(later, high[0], low[0]), Mux(later, high[1], low[1])
