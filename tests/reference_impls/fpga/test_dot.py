from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.fpga.adders import gain
from reference_impls.fpga.dot import AddSubtract, BitSerial, Multiply, ShiftAdd, Ternary, XnorPopcount, choose
from reference_impls.fpga.element import Dot
from reference_impls.fpga.ports import IntArray, Kind, Port

ACTIVATIONS: tuple[tuple[int, Kind], ...] = (
    (1, "bipolar"),
    (1, "unsigned"),
    (1, "signed"),
    (2, "unsigned"),
    (3, "signed"),
)


def elements(width: int, kind: Kind) -> list[tuple[Dot, list[int]]]:
    """Every element for this activation, with all the weights that it holds."""
    found: list[tuple[Dot, list[int]]] = [
        (AddSubtract(width, kind), [-1, 1]),
        (Ternary(width, kind), [-1, 0, 1]),
        (Multiply(width, kind, 1), [-1, 0]),
        (Multiply(width, kind, 4), list(range(-8, 8))),
        (Multiply(width, kind, 3, blocks=True), list(range(-4, 4))),
        (ShiftAdd(width, kind, 1, 0), [-1, 0, 1]),
        (ShiftAdd(width, kind, 1, 3), [-8, -4, -2, -1, 0, 1, 2, 4, 8]),
        (ShiftAdd(width, kind, 2, 2), [*range(-6, 7), -8, 8]),
        (BitSerial(width, kind, 2), list(range(-2, 2))),
        (BitSerial(width, kind, 5), list(range(-16, 16))),
    ]
    if width == 1 and kind != "signed":
        found.append((XnorPopcount(width, kind), [-1, 1]))
    return found


def levels(width: int, kind: Kind) -> list[int]:
    port = Port(width, kind, 1, 1)
    return [-1, 1] if kind == "bipolar" else list(range(port.low, port.high + 1))


def outputs(dot: Dot, codes: IntArray, inputs: IntArray) -> IntArray:
    """Simulate: codes (m, lanes) and inputs (n, lanes) to what the element answers, (m, n)."""
    lanes = inputs.shape[1]
    m = Module()
    element = signed(dot.width) if dot.kind == "signed" else unsigned(dot.width)
    xs = [Signal(element, name=f"x{lane}") for lane in range(lanes)]
    cs = [Signal(dot.bits, name=f"code{lane}") for lane in range(lanes)]
    width, kind = dot.result(lanes)
    y = Signal(signed(width) if kind == "signed" else unsigned(width))
    m.d.comb += y.eq(dot.build(m, xs, cs))
    seen: list[list[int]] = []

    async def bench(ctx: Any) -> None:
        for row in codes:
            for code, value in zip(cs, row, strict=True):
                ctx.set(code, int(value))
            seen.append([])
            for line in inputs:
                for x, value in zip(xs, line, strict=True):
                    ctx.set(x, int(value > 0) if dot.kind == "bipolar" else int(value))
                seen[-1].append(ctx.get(y))

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    return np.array(seen)


def answer(dot: Dot, weights: IntArray, inputs: IntArray) -> IntArray:
    """Put passes, gain and offset together, as a matrix-vector unit does: (m, lanes) and (n, lanes) to (m, n)."""
    codes = dot.encode(weights)
    assert codes.shape == (dot.cycles, *weights.shape)
    assert codes.min() >= 0
    assert codes.max() < 1 << dot.bits
    passes = outputs(dot, codes.reshape(-1, weights.shape[1]), inputs).reshape(dot.cycles, len(weights), -1)
    found = passes[0] if dot.cycles == 1 else -passes[0]
    for value in passes[1:]:
        found = 2 * found + value
    result: IntArray = gain(dot.kind) * found + dot.offset(weights)[:, None]
    return result


@pytest.mark.parametrize(("width", "kind"), ACTIVATIONS)
def test_every_weight_times_every_activation(width: int, kind: Kind) -> None:
    inputs = np.array(levels(width, kind))[:, None]
    for dot, values in elements(width, kind):
        weights = np.array(values)[:, None]
        assert (answer(dot, weights, inputs) == weights * inputs.T).all(), dot


@given(
    activation=st.sampled_from(ACTIVATIONS),
    which=st.integers(0, 10),
    lanes=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
@settings(max_examples=20, deadline=None)
def test_dot_product_equals_numpy(activation: tuple[int, Kind], which: int, lanes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = rng.choice(levels(*activation), (4, lanes))
    choices = elements(*activation)
    dot, values = choices[which % len(choices)]
    weights = rng.choice(values, (3, lanes))
    assert (answer(dot, weights, inputs) == weights @ inputs.T).all(), dot


@pytest.mark.parametrize(("width", "kind"), ACTIVATIONS)
def test_the_extremes_fit_the_result(width: int, kind: Kind) -> None:
    ends = np.array([[min(levels(width, kind))] * 5, [max(levels(width, kind))] * 5])
    for dot, values in elements(width, kind):
        weights = np.array([[min(values)] * 5, [max(values)] * 5])
        assert (answer(dot, weights, ends) == weights @ ends.T).all(), dot


def test_a_flipped_code_bit_changes_the_answer() -> None:
    inputs = np.array([[3, 1, 2, 3]])
    for dot, weights in (
        (AddSubtract(2, "unsigned"), [1, -1, 1, -1]),
        (Ternary(2, "unsigned"), [1, -1, 0, 1]),
        (Multiply(2, "unsigned", 4), [3, -8, 7, 1]),
        (ShiftAdd(2, "unsigned", 1, 2), [4, -2, 1, 2]),
        (BitSerial(2, "unsigned", 4), [3, -8, 7, 1]),
    ):
        codes = dot.encode(np.array(weights))[:1, :]
        mutants = codes ^ (np.eye(4, dtype=np.int64) << (dot.bits - 1))
        assert (outputs(dot, mutants, inputs) != outputs(dot, codes, inputs)).all(), dot


def test_shift_add_takes_the_fewest_terms() -> None:
    dot = ShiftAdd(4, "unsigned", 3, 4)
    assert [len(dot.sums[value]) for value in (0, 1, 8, 3, 7, 11, -15)] == [0, 1, 1, 2, 2, 3, 2]
    for value, terms in dot.sums.items():
        assert sum(sign * 2**exponent for sign, exponent in terms) == value
    reachable = {
        sum(parts) for parts in itertools.product([0, *(s * 2**e for s in (-1, 1) for e in range(5))], repeat=3)
    }
    assert set(dot.sums) == reachable


@pytest.mark.parametrize(
    ("dot", "bits", "cycles"),
    [
        (XnorPopcount(), 1, 1),
        (AddSubtract(3, "signed"), 1, 1),
        (Ternary(1, "bipolar"), 2, 1),
        (Multiply(8, "signed", 6), 6, 1),
        (ShiftAdd(4, "unsigned", 2, 6), 10, 1),
        (ShiftAdd(4, "unsigned", 1, 7), 5, 1),
        (ShiftAdd(4, "unsigned", 3, 0), 6, 1),
        (BitSerial(4, "unsigned", 7), 1, 7),
    ],
)
def test_bits_and_cycles_are_those_of_the_table(dot: Dot, bits: int, cycles: int) -> None:
    assert (dot.bits, dot.cycles) == (bits, cycles)


@pytest.mark.parametrize(
    ("weights", "width", "kind", "wanted"),
    [
        ([1, -1], 1, "bipolar", XnorPopcount(1, "bipolar")),
        ([1, -1], 1, "unsigned", XnorPopcount(1, "unsigned")),
        ([1, -1], 4, "unsigned", AddSubtract(4, "unsigned")),
        ([1, 1], 1, "signed", AddSubtract(1, "signed")),
        ([1, 0], 1, "bipolar", Ternary(1, "bipolar")),
        ([-1, 0], 8, "signed", Ternary(8, "signed")),
        ([0, 0], 8, "signed", Ternary(8, "signed")),
        ([4, -2, 0], 4, "unsigned", ShiftAdd(4, "unsigned", 1, 2)),
        ([-4, 2, 0], 1, "bipolar", Multiply(1, "bipolar", 3)),
        ([3, 0], 4, "unsigned", Multiply(4, "unsigned", 3)),
        ([-128, 5], 8, "signed", Multiply(8, "signed", 8)),
    ],
)
def test_choose_takes_the_cheapest_that_fits(weights: list[int], width: int, kind: Kind, wanted: Dot) -> None:
    assert choose(np.array(weights), width, kind) == wanted


@pytest.mark.parametrize(
    ("dot", "weights", "message"),
    [
        (XnorPopcount(), [1, 0], "XNOR-popcount holds -1 and \\+1, not 0"),
        (AddSubtract(2, "unsigned"), [1, 2], "not 2"),
        (Ternary(2, "unsigned"), [1, -2], "ternary holds .* not -2"),
        (Multiply(2, "unsigned", 3), [4, 1], "3 bits hold -4 to 3, not 4"),
        (BitSerial(2, "unsigned", 3), [-5], "3 bits hold -4 to 3, not -5"),
        (ShiftAdd(2, "unsigned", 1, 2), [3], "signed powers of two, not 3"),
        (ShiftAdd(2, "unsigned", 1, 2), [8], "not 8"),
    ],
)
def test_weights_that_an_element_cannot_hold_are_refused(dot: Dot, weights: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dot.encode(np.array(weights))


def test_elements_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="use AddSubtract"):
        XnorPopcount(2, "unsigned")
    with pytest.raises(ValueError, match="use AddSubtract"):
        XnorPopcount(1, "signed")
    with pytest.raises(ValueError, match="at least 1 bit"):
        Multiply(2, "unsigned", 0)
    with pytest.raises(ValueError, match="use AddSubtract for one"):
        BitSerial(2, "unsigned", 1)
    with pytest.raises(ValueError, match="a term and an exponent"):
        ShiftAdd(2, "unsigned", 0, 1)
    with pytest.raises(ValueError, match="one bit"):
        Ternary(2, "bipolar")


def test_labels_name_the_element() -> None:
    named = {dot.label for dot, _ in elements(1, "bipolar")}
    assert named >= {
        "XNOR-popcount",
        "add/subtract",
        "ternary",
        "multiply, 4-bit weights",
        "multiply, 3-bit weights, DSP",
    }
    assert "bit-serial, 5-bit weights" in named
    assert "shift-add, 2 x 2^0..2^2" in named
