from __future__ import annotations

import pytest

from qkb.formats.names import Name, split


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Song Han", Name("Song", "", "Han", "", whole=False)),
        ("Pierce I-Jen Chuang", Name("Pierce I-Jen", "", "Chuang", "", whole=False)),
        ("Ludwig van Beethoven", Name("Ludwig", "van", "Beethoven", "", whole=False)),
        ("Ada Lind III", Name("Ada", "", "Lind", "III", whole=False)),
        ("Ada Lind, Jr.", Name("Ada", "", "Lind", "Jr.", whole=False)),
        ("van Beethoven", Name("van", "", "Beethoven", "", whole=False)),
        ("Nguyen The Anh", Name("Nguyen The", "", "Anh", "", whole=False)),
        ("OpenAI", Name("", "", "OpenAI", "", whole=True)),
        ("The MLIR Authors", Name("", "", "The MLIR Authors", "", whole=True)),
        ("Google Research", Name("", "", "Google Research", "", whole=True)),
        ("Lind and Ruiz", Name("", "", "Lind and Ruiz", "", whole=True)),
        ("Lind, Ada", Name("", "", "Lind, Ada", "", whole=True)),
    ],
)
def test_split(name: str, expected: Name) -> None:
    assert split(name) == expected
