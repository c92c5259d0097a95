from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.fpga.ports import Kind, Port, smallest


@pytest.mark.parametrize(
    ("kind", "width", "low", "high"), [("signed", 4, -8, 7), ("unsigned", 4, 0, 15), ("bipolar", 1, -1, 1)]
)
def test_range_of_an_element(kind: Kind, width: int, low: int, high: int) -> None:
    port = Port(width, kind, 3, 2)
    assert (port.low, port.high, port.elements, port.bits) == (low, high, 6, 3 * width)


@given(data=st.data(), width=st.integers(1, 20), lanes=st.integers(1, 9), beats=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_frames_survive_packing(data: st.DataObject, width: int, lanes: int, beats: int) -> None:
    kind: Kind = data.draw(st.sampled_from(["signed", "unsigned", "bipolar"] if width == 1 else ["signed", "unsigned"]))
    port = Port(width, kind, lanes, beats)
    values = st.sampled_from([-1, 1]) if kind == "bipolar" else st.integers(port.low, port.high)
    row = st.lists(values, min_size=port.elements, max_size=port.elements)
    frames = np.array(data.draw(st.lists(row, min_size=1, max_size=3)), dtype=np.int64)
    packed = port.encode(frames)
    assert packed.shape == (len(frames) * beats, (port.bits + 7) // 8)
    assert np.array_equal(port.decode(packed), frames)


def test_first_element_lies_in_the_lowest_bits() -> None:
    assert Port(4, "signed", 2, 1).encode(np.array([[1, -2]])).tolist() == [[0xE1]]
    assert Port(1, "bipolar", 3, 1).encode(np.array([[1, -1, 1]])).tolist() == [[0b101]]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.array([[8, 0]]), "8 does not fit 4 bits, signed"),
        (np.array([[0, -9]]), "-9 does not fit"),
        (np.array([[0, 0, 0]]), r"must be \(frames, 2\)"),
        (np.array([0, 0]), r"must be \(frames, 2\)"),
    ],
)
def test_what_does_not_fit_is_refused(frames: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Port(4, "signed", 2, 1).encode(frames)


def test_zero_is_no_bipolar_value() -> None:
    with pytest.raises(ValueError, match="0 does not fit 1 bits, bipolar"):
        Port(1, "bipolar", 2, 1).encode(np.array([[1, 0]]))


@pytest.mark.parametrize(
    ("width", "kind", "lanes", "beats"), [(0, "signed", 1, 1), (1, "signed", 0, 1), (1, "signed", 1, 0)]
)
def test_a_port_needs_bits_lanes_and_beats(width: int, kind: Kind, lanes: int, beats: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Port(width, kind, lanes, beats)


def test_bipolar_elements_have_one_bit() -> None:
    with pytest.raises(ValueError, match="one bit, not 2"):
        Port(2, "bipolar", 1, 1)


@given(low=st.integers(-300, 300), span=st.integers(0, 600))
@settings(max_examples=80, deadline=None)
def test_smallest_holds_the_range_and_nothing_smaller_does(low: int, span: int) -> None:
    high = low + span
    width, kind = smallest(low, high)
    port = Port(width, kind, 1, 1)
    assert port.low <= low <= high <= port.high
    if width > 1:
        less = Port(width - 1, kind, 1, 1)
        assert low < less.low or high > less.high


def test_smallest_refuses_an_empty_range() -> None:
    with pytest.raises(ValueError, match="lies above"):
        smallest(2, 1)
