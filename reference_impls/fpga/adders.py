r"""Sums of many terms in one cycle, and the raw numbers that activations are summed as.

A raw activation is an unsigned number $u$ with $x = g u + b$, so that no sum needs a sign:

| kind | $u$ | $g$ | $b$ |
|---|---|---|---|
| unsigned, n bits | the number | 1 | 0 |
| signed, n bits | the number with its top bit turned over | 1 | $-2^{n-1}$ |
| bipolar | the bit | 2 | -1 |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Const, Signal, Value

from reference_impls.fpga.ports import Kind, Port

COUNTED_BITS = 3
"""Widest terms that are counted bit by bit."""


def gain(kind: Kind) -> int:
    """Return g: 2 for bipolar activations, else 1."""
    return 2 if kind == "bipolar" else 1


def base(width: int, kind: Kind) -> int:
    """Return b: the activation whose raw number is 0."""
    return Port(width, kind, 1, 1).low


def raw(kind: Kind, value: Any) -> Any:
    """Return the raw number of an activation that arrives as an Amaranth value."""
    bits = Value.cast(value).as_unsigned()
    return Cat(bits[:-1], ~bits[-1]) if kind == "signed" else bits


def popcount(m: Any, bits: Sequence[Any]) -> Any:
    """Count ones with a tree of 3:2 compressors (full adders, a carry-save tree) and one carry chain at its end.

    All full adders of a weight and level stand in one wide XOR and one wide majority. For 64 inputs Yosys needs 251
    LUT4 for it on an ECP5, masks included, against 355 for `sum()` or a tree of adders; below 16 inputs they are alike.

    Args:
        m: module that takes the logic.
        bits: one-bit values.
    """
    columns: dict[int, list[Any]] = {0: list(bits)}  # weight: bits that count for it
    level = 0
    while any(len(column) > 2 for column in columns.values()):
        below: dict[int, list[Any]] = {}
        for weight in sorted(columns):
            column = columns[weight]
            third = len(column) // 3
            below.setdefault(weight, []).extend(column[3 * third :])
            if third:
                a, b, c = (Cat(column[n * third : (n + 1) * third]) for n in range(3))
                odd = Signal(third, name=f"sum_{level}_{weight}")
                carry = Signal(third, name=f"carry_{level}_{weight}")
                m.d.comb += [odd.eq(a ^ b ^ c), carry.eq((a & b) | (a & c) | (b & c))]
                below[weight].extend(odd)
                below.setdefault(weight + 1, []).extend(carry)
        columns = below
        level += 1
    first, second = (
        Cat(*(column[row] if len(column) > row else Const(0, 1) for _, column in sorted(columns.items())))
        for row in (0, 1)
    )
    return (first + second)[: len(bits).bit_length()]


def total(m: Any, terms: Sequence[Any]) -> Any:
    """Add terms, in the way that needs the fewest cells.

    Unsigned terms of up to `COUNTED_BITS` bits are counted bit by bit with `popcount`, and the counts added; others go
    through a tree of carry chains. Measured for 4 x 8 ternary weights on an ECP5, whole matrix-vector unit, LUT4 and
    two for each carry cell:

    | bits of a term | bit by bit | carry chains | `sum()` |
    |---|---|---|---|
    | 2 | 367 | 715 | 379 |
    | 3 | 461 | 596 | 600 |
    | 4 | 619 | 477 | 673 |

    Args:
        m: module that takes the logic.
        terms: values, all signed or all unsigned.
    """
    values = [Value.cast(term) for term in terms]
    widest = max(len(value) for value in values)
    if widest > COUNTED_BITS or any(value.shape().signed for value in values):
        return chain(m, values)
    counts = []
    for bit in range(widest):
        count = popcount(m, [value[bit] for value in values if len(value) > bit])
        counts.append(Cat(Const(0, bit), count))
    return chain(m, counts)


def chain(m: Any, values: Sequence[Any]) -> Any:
    """Add with a tree of carry chains.

    The partial sums carry the attribute `keep`: without it Yosys merges all adders of a sum into one tree of LUTs.

    Args:
        m: module that takes the logic.
        values: all signed or all unsigned.
    """
    level = 0
    while len(values) > 1:
        pairs = [values[n : n + 2] for n in range(0, len(values), 2)]
        sums: list[Any] = []
        for place, pair in enumerate(pairs):
            if len(pair) == 1:
                sums += pair
                continue
            part = Signal((pair[0] + pair[1]).shape(), name=f"part_{level}_{place}", attrs={"keep": 1})
            m.d.comb += part.eq(pair[0] + pair[1])
            sums.append(part)
        values = sums
        level += 1
    return values[0]
