"""Pipeline registers of a unit that moves as a whole or not at all."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Signal, Value


def delay(m: Any, move: Any, value: Any, times: int = 1) -> Any:
    """Return the value as it was `times` moves ago; a constant needs no register.

    Args:
        m: the module that the registers go to.
        move: whether the unit moves in this cycle.
        value: what to delay; its shape is kept.
        times: registers in a row; 0 returns the value itself.
    """
    value = Value.cast(value)
    for _ in range(0 if isinstance(value, Const) else times):
        held = Signal.like(value, name="held")
        with m.If(move):
            m.d.sync += held.eq(value)
        value = held
    return value
