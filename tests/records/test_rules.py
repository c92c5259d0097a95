from __future__ import annotations

from typing import TYPE_CHECKING

from qkb.records.load import load_record
from qkb.records.rules import implementations, of_record

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import LibraryMaker


def test_what_is_faulty_anyway_breaks_no_rule(library: LibraryMaker) -> None:
    path = library.record("x", links={"arxiv": "16030.5279"}, bits={"weights": "8..2"}, notes="Too short.")
    draft = load_record(path, library.root).draft
    assert draft is not None
    assert draft.faulty == ("links.arxiv",)
    assert [path for path, _ in of_record(draft)] == ["bits.weights", "notes"]


def test_implementations_are_found_by_their_files(tmp_path: Path) -> None:
    assert implementations(tmp_path) is None
    for name in ("binary/bnn", "binary/__init__", "binary/_helper", "kit/ste", "fpga/mvu", "ternary/twn", "top"):
        path = tmp_path / "reference_impls" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert implementations(tmp_path) == frozenset(["binary/bnn", "ternary/twn"])
