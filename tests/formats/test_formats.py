from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qkb import formats

if TYPE_CHECKING:
    from qkb.entry import Entry


def test_every_module_is_a_format() -> None:
    folder = Path(formats.__file__).parent
    assert {path.stem.removeprefix("to_") for path in folder.glob("to_*.py")} == set(formats.FORMATS)


@pytest.mark.parametrize("name", formats.FORMATS)
def test_every_format_writes_whole_lines(name: str, hard: Entry, plain: Entry) -> None:
    text = formats.dump([hard, plain], name)
    assert text.endswith("\n")
    assert "hard" in text or "XNOR-Net" in text
    assert formats.dumper(name)([hard, plain]) == text
