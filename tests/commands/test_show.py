from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from qkb.cli import main
from qkb.commands import show
from qkb.errors import UsageError
from qkb.library import Library
from qkb.text import width

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

TEXT = """\
Scaled Sign Networks

Chen Ode, Ada Lind

id              scaled-sign
venue           Fabricated Journal of Bits (FABJ), 2016
kind            journal
tags            bnn, hardware
topics          scaling-factors
bits            weights 1, activations 1
DOI             https://doi.org/10.5555/scaled.sign
page            https://journal.example/scaled-sign
code            https://code.example/scaled-sign (official, pytorch)
builds on       tiny-sign
built on by     wide-steps
listed in       small-list/one, small-list/two
implementation  reference_impls/binary/scaled_sign.py (qkb run scaled-sign)

Claims
  scale-is-mean: the best scale is the mean magnitude (Eq. 3)

Notes
  Each filter has a scale. The scale is the mean magnitude. Popcount replaces the
  dot product.
"""


def ask(library: LibraryMaker, *words: str) -> int:
    return main(["show", *words, "--root", str(library.root)])


def result(library: LibraryMaker, name: str, text: str) -> None:
    library.write("reference_impls/kit/__init__.py", "")
    library.write(f"reference_impls/results/{name}.json", text)


def test_exactly(library: LibraryMaker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "82")
    assert ask(library, "scaled-sign") == 0
    assert capsys.readouterr() == (TEXT, "")


def test_a_wanted_record_says_so(library: LibraryMaker) -> None:
    opened = Library.open(library.root)
    text = show.describe(opened, show.run(opened, ["wide-steps"])[0])
    assert "implementation  wanted\n" in text
    assert "built on by" not in text


def test_what_was_measured_stands_below_its_claim(library: LibraryMaker) -> None:
    claim = {
        "id": "scale-is-mean", "verdict": "reproduced", "quantity": "scaled - plain", "bound": "> 0", "estimate": 1.25,
        "low": 0.5, "high": 2.0, "unit": "points", "remark": "Small networks.",
    }  # fmt: skip
    result(library, "scaled-sign", json.dumps({"claims": [claim, {"id": "other", "verdict": "inconclusive"}]}))
    opened = Library.open(library.root)
    text = show.describe(opened, show.run(opened, ["scaled-sign"])[0], 200)
    assert (
        "  scale-is-mean: the best scale is the mean magnitude (Eq. 3)\n"
        "    measured: reproduced; scaled - plain: 1.25 points (0.5 to 2), claimed > 0. Small networks.\n"
    ) in text


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"claims": 3}', '{"claims": [{"verdict": "reproduced"}]}', '"x"']
)
def test_a_strange_result_is_left_out(library: LibraryMaker, text: str) -> None:
    result(library, "scaled-sign", text)
    opened = Library.open(library.root)
    assert show.measured(opened, "scaled-sign") == {}
    assert "measured" not in show.describe(opened, show.run(opened, ["scaled-sign"])[0])


def test_a_result_without_numbers_still_has_a_verdict(library: LibraryMaker) -> None:
    result(library, "scaled-sign", '{"claims": [{"id": "scale-is-mean", "verdict": "inconclusive", "low": null}]}')
    opened = Library.open(library.root)
    assert "    measured: inconclusive\n" in show.describe(opened, show.run(opened, ["scaled-sign"])[0])


def test_several_names_in_their_order(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(library, "wide", "1511.00001", "--format", "ids") == 0
    assert capsys.readouterr().out == "wide-steps\ntiny-sign\n"
    assert ask(library, "wide", "tiny-sign") == 0
    printed = capsys.readouterr().out
    assert printed.index("id              wide-steps") < printed.index("id              tiny-sign")


@pytest.mark.parametrize("name", ["json", "bibtex", "csl", "ris", "csv", "yaml", "markdown", "jsonl", "table"])
def test_formats(library: LibraryMaker, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert ask(library, "scaled-sign", "--format", name) == 0
    assert "scaled-sign" in capsys.readouterr().out


def test_no_such_record(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(library, "tiny-sing") == 2
    assert capsys.readouterr() == ("", "qkb show: there is no record 'tiny-sing'. Did you mean 'tiny-sign'?\n")
    assert ask(library, "zzzzzz") == 2
    assert capsys.readouterr().err == "qkb show: there is no record 'zzzzzz'. qkb list records prints them all.\n"


def test_a_shared_beginning_names_them(library: LibraryMaker) -> None:
    library.record("tiny-other")
    with pytest.raises(UsageError, match="'tiny' may be any of tiny-other, tiny-sign; write more of it"):
        show.run(Library.open(library.root), ["tiny"])


def test_notes_keep_lists_and_fill_prose(library: LibraryMaker) -> None:
    notes = "One\ntwo\nthree.\n\n- item one\n- item two\n\n    code\n"
    library.record("noted", notes=notes)
    opened = Library.open(library.root)
    text = show.describe(opened, show.run(opened, ["noted"])[0])
    assert text.endswith("Notes\n  One two three.\n\n  - item one\n  - item two\n\n      code\n")


def test_lines_fit_but_addresses_stay_whole(library: LibraryMaker) -> None:
    address = "https://a.example/" + "x" * 90
    library.record("long", links={"url": address}, notes="word " * 100 + "end. Two. Three.\n")
    opened = Library.open(library.root)
    lines = show.describe(opened, show.run(opened, ["long"])[0], 60).splitlines()
    assert max(width(line) for line in lines if address not in line) <= 60
    assert any(address in line for line in lines)
