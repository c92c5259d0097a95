from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.doctor.examine import examine

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker


def found(library: LibraryMaker, *authors: list[str]) -> list[str]:
    for index, names in enumerate(authors):
        library.record(f"work-{'abc'[index]}", 2016, authors=names)
    return [one.message for one in examine(library.place, ["authors"]).findings]


def test_one_name_per_author(library: LibraryMaker) -> None:
    assert found(library, ["Ada Lind", "Cy Kern"]) == []


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("Renée Kern", "Renee Kern", "accents, hyphens or case"),
        ("Jian-Guo Kern", "Jianguo Kern", "accents, hyphens or case"),
        ("van der Kern", "Van Der Kern", "accents, hyphens or case"),
    ],
)
def test_spelling_is_told_always(one: str, other: str, why: str, bare_library: LibraryMaker) -> None:
    (message,) = found(bare_library, [one, "Bo Ruiz"], [other, "Di Moss"])
    assert why in message
    assert "the same person?" in message


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("Cy Kern", "C. Kern", "an initial"),
        ("Cy D. Kern", "C. D. Kern", "an initial"),
        ("Cy D. Kern", "Cy Kern", "a middle name"),
        ("Cy Kern", "Kern Cy", "another order"),
    ],
)
def test_other_differences_need_a_common_co_author(one: str, other: str, why: str, bare_library: LibraryMaker) -> None:
    assert found(bare_library, [one, "Bo Ruiz"], [other, "Di Moss"]) == []
    (message,) = found(bare_library, [one, "Bo Ruiz"], [other, "Bo Ruiz"])
    assert f"({why})" in message


@pytest.mark.parametrize(("one", "other"), [("Cy Kern", "Cyd Kern"), ("C. Kern", "D. Kern"), ("Cy Kern", "Cy Kerner")])
def test_people_with_other_names_are_others(one: str, other: str, bare_library: LibraryMaker) -> None:
    assert found(bare_library, [one, "Bo Ruiz"], [other, "Bo Ruiz"]) == []


def test_the_rarer_spelling_is_blamed(bare_library: LibraryMaker) -> None:
    (message,) = found(bare_library, ["Renee Kern"], ["Renée Kern"], ["Renée Kern"])
    assert message.startswith("`Renee Kern` is `Renée Kern` in papers/2016/work-b.yaml")
