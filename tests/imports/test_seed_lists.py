"""The four lists that the survey grew from: every row known in the real library, accounted for in an empty one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qkb.commands import validate
from qkb.imports import account
from qkb.paths import Place
from qkb.records.vocabulary import load_vocabulary

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

DATA = Path(__file__).parent / "data"
HERE = Place(Path(__file__).resolve().parents[2])
ROWS = {"model-quantization": 25, "nnq-mc-study": 21, "quantization-models": 7, "quantization": 49}
FILES = [str(DATA / f"{name}.md") for name in ROWS]


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_known_as_the_right_record(name: str) -> None:
    reading_list = load_vocabulary(HERE).vocabulary.lists[name]
    expected = [row.record for section in reading_list.sections for row in section.rows]
    lines = account.run(HERE, [str(DATA / f"{name}.md")]).lines
    assert len(expected) == ROWS[name]
    assert [(line.status, line.ids) for line in lines] == [("known", (record,)) for record in expected]


def test_every_row_is_accounted_for_in_an_empty_library(bare_library: LibraryMaker) -> None:
    found = account.run(bare_library.place, FILES)
    totals = found.totals
    assert totals["rows"] == 102 == totals["new"] + totals["known"] + totals["ambiguous"] + totals["not understood"]
    assert totals["not understood"] == 0
    assert len({line.ids for line in found.lines if line.status == "new"}) == totals["new"]
    # BinaryNet is another title of BNN, and one list leaves out the second half of a title: nothing in them says so.
    ambiguous = [(Path(line.file).stem, line.line) for line in found.lines if line.status == "ambiguous"]
    assert ambiguous == [("model-quantization", 43), ("quantization", 73)]
    assert list(bare_library.papers.glob("[12]*")) == []


def test_drafts_lack_only_what_the_lists_do_not_say(bare_library: LibraryMaker) -> None:
    first = account.run(bare_library.place, FILES, year=2018, write=True)
    assert len(first.written) == first.totals["new"]
    report = validate.run(bare_library.place)
    told = {(fault.file, fault.path) for fault in report.faults if "this key is missing" in fault.message}
    assert told == {(line.path, key) for line in first.written for key in line.missing}
    again = account.run(bare_library.place, FILES, year=2018, write=True)
    assert (again.totals["known"], again.totals["ambiguous"]) == (100, 2)
    assert again.written == []
