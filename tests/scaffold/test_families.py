from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.errors import UsageError
from qkb.scaffold.families import checked, guess, names

if TYPE_CHECKING:
    from pathlib import Path


def test_names(tmp_path: Path) -> None:
    before = names(tmp_path)
    assert "binary" in before
    for folder in ("kit", "made_up", "results", "no_package"):
        (tmp_path / "reference_impls" / folder).mkdir(parents=True)
        if folder != "no_package":
            (tmp_path / "reference_impls" / folder / "__init__.py").touch()
    assert set(names(tmp_path)) - set(before) == {"made_up"}


def test_an_unknown_family_is_refused(tmp_path: Path) -> None:
    assert checked("binary", tmp_path) == "binary"
    for name, message in (("binery", "Did you mean 'binary'?"), ("../x", "There are binary"), ("kit", "There are")):
        with pytest.raises(UsageError, match=message.replace("?", r"\?")):
            checked(name, tmp_path)


@pytest.mark.parametrize(
    ("title", "family"),
    [
        ("XNOR-Net: Binary Convolutions", "binary"), ("Ternary and Binary Weights", "ternary"),
        ("An FPGA Accelerator for Binary Nets", "hardware"), ("Post-Training 4-bit Quantization", "post_training"),
        ("Quantised Networks", "uniform"), ("Pruning and Codebooks", "compression"), ("Attention", ""),
        ("Design of Significant Networks", ""),
    ],
)  # fmt: skip
def test_guess(title: str, family: str) -> None:
    assert guess(title) == family
