from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from qkb.cli import main
from qkb.commands import stats
from qkb.library import Library

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

COUNTS = {
    "year": {"2015": 1, "2016": 1, "2017": 1},
    "tag": {"bnn": 2, "hardware": 1, "qnn": 1},
    "topic": {"weights-only": 2, "scaling-factors": 1, "ternary": 1},
    "venue": {"FABCONF": 1, "FABJ": 1, "arXiv": 1},
    "kind": {"conference": 1, "journal": 1, "preprint": 1},
    "bits": {"w1": 1, "w1a1": 1, "w2..8afp": 1},
    "implementation": {"measured": 1, "present": 1, "wanted": 1},
}


@pytest.fixture
def measured(library: LibraryMaker) -> LibraryMaker:
    library.write("reference_impls/kit/__init__.py", "")
    library.write("reference_impls/results/tiny-sign.json", "{}")
    return library


def test_run(measured: LibraryMaker) -> None:
    opened = Library.open(measured.root)
    assert stats.run(opened) == COUNTS
    assert stats.run(opened, ["tag"]) == {"tag": COUNTS["tag"]}


def test_json(measured: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", "--format", "json", "--root", str(measured.root)]) == 0
    assert json.loads(capsys.readouterr().out) == {"records": 3, **COUNTS}


def test_text(measured: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", "--by", "tag", "--by", "implementation", "--root", str(measured.root)]) == 0
    bar, half = "█" * 30, "█" * 15
    assert capsys.readouterr().out == (
        "3 records\n\n"
        f"by tag\n  bnn           2  {bar}\n  hardware      1  {half}\n  qnn           1  {half}\n\n"
        f"by implementation\n  measured      1  {bar}\n  present       1  {bar}\n  wanted        1  {bar}\n"
    )


def test_a_record_without_bits_counts_too(library: LibraryMaker) -> None:
    library.record("bare", bits=None)
    assert stats.run(Library.open(library.root), ["bits"])["bits"]["-"] == 1


def test_an_empty_library(bare_library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", "--root", str(bare_library.root)]) == 0
    assert capsys.readouterr().out.startswith("0 records\n\nby year\n")


def test_wrong_usage(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", "--by", "colour", "--root", str(library.root)]) == 2
    assert "invalid choice: 'colour'" in capsys.readouterr().err
