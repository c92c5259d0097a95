from __future__ import annotations

import pytest

from qkb.text import cut, fold, printable, width


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Courbariaux", "courbariaux"),
        ("Süsstrunk", "susstrunk"),
        ("Fernández-Marqués", "fernandez-marques"),
        ("Łukasz ØRSTED Đorđe", "lukasz orsted dorde"),
        ("Straße", "strasse"),
        ("e\u0301", "e"),
        ("  two \t spaces\n", "two spaces"),
        ("量子", "量子"),
        ("", ""),
    ],
)
def test_fold(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_printable_replaces_what_a_terminal_obeys() -> None:
    assert printable("a\x1b[31mb\x07c\u202ed\tf") == "a�[31mb�c�d�f"


def test_printable_keeps_lines_and_letters() -> None:
    assert printable("Süß\n量子") == "Süß\n量子"


def test_width_of_wide_and_combining_characters() -> None:
    assert [width(text) for text in ("abc", "量子化", "e\u0301", "a\u200bb", "")] == [3, 6, 1, 2, 0]


@pytest.mark.parametrize("columns", range(1, 12))
def test_what_is_cut_fits(columns: int) -> None:
    for text in ("Binarized networks", "量子化ネットワーク", "e\u0301e\u0301e\u0301 mixed 量子"):
        assert width(cut(text, columns)) <= columns


def test_what_fits_is_not_cut() -> None:
    assert cut("量子化", 6) == "量子化"
    assert cut("abc", 3) == "abc"
