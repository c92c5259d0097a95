from __future__ import annotations

import pytest

from qkb.imports.people import by_commas, in_prose


@pytest.mark.parametrize(
    ("text", "names", "more"),
    [
        ("Courbariaux, Matthieu, et al. ", ("Matthieu Courbariaux",), True),
        ("Iandola, Forrest N., et al.", ("Forrest N. Iandola",), True),
        (
            "Galloway, Angus, Graham W. Taylor, and Medhat Moussa.",
            ("Angus Galloway", "Graham W. Taylor", "Medhat Moussa"),
            False,
        ),
        ("Tan, Mingxing, and Quoc V. Le.", ("Mingxing Tan", "Quoc V. Le"), False),
        ("Elias Frantar, Saleh Ashkboos", ("Elias Frantar", "Saleh Ashkboos"), False),
        ("Zhihang Yuan and Lin Niu and Jiawei Liu", ("Zhihang Yuan", "Lin Niu", "Jiawei Liu"), False),
        ("Lind, A., Ruiz, B. C., & Ode, D.", ("A. Lind", "B. C. Ruiz", "D. Ode"), False),
        ("by Ada Lind", ("Ada Lind",), False),
        ("Ada Lind1, Bo Ruiz2 & Cy Ode", ("Ada Lind", "Bo Ruiz", "Cy Ode"), False),
        ("Yuhang Li*, Mingzhu Shen†", ("Yuhang Li", "Mingzhu Shen"), False),
        ("Song Han et al", ("Song Han",), True),
        ("李明, 王伟", ("李明", "王伟"), False),
        ("a new method for training", (), False),
        ("Quantization", (), False),
        ("CVPR 2019", (), False),
        ("", (), False),
    ],
)
def test_in_prose(text: str, names: tuple[str, ...], more: bool) -> None:
    assert in_prose(text) == (names, more)


def test_by_commas() -> None:
    assert by_commas("") == ""
    assert by_commas("Lind,") == "Lind"
