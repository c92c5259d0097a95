from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

import bibtexparser
import pytest
from bibtexparser.middlewares.latex_encoding import LatexDecodingMiddleware
from bibtexparser.middlewares.names import SeparateCoAuthors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qkb.formats import to_bibtex
from qkb.formats.latex import encode
from qkb.formats.to_bibtex import dump, protect
from qkb.records.model import Kind

if TYPE_CHECKING:
    from qkb.entry import Entry
    from tests.formats.conftest import Maker


def read_back(text: str) -> dict[str, dict[str, Any]]:
    """Parse BibTeX; return decoded fields by key."""
    decode = [LatexDecodingMiddleware(), SeparateCoAuthors()]
    library = bibtexparser.parse_string(text, append_middleware=decode)  # type: ignore[attr-defined]
    assert library.failed_blocks == []
    return {found.key: {field.key: field.value for field in found.fields} for found in library.entries}


def fields_of(entry: Entry) -> dict[str, Any]:
    """Return the fields of an entry, as they were written."""
    library = bibtexparser.parse_string(dump([entry]))  # type: ignore[attr-defined]
    return {field.key: field.value for field in library.entries[0].fields}


def test_exactly(hard: Entry, plain: Entry) -> None:
    authors = (
        r"S{\'e}bastien L{\o}v{\r{a}}s and Laurens van der Maaten and Lind, Jr., Ada B. and {Alpha Data Systems Ltd.}"
    )
    expected = r"""@inproceedings{hard,
  title = {{XNOR-Net} \& S{\o}n: 50\% of the {\textbraceleft}Costs{\textbraceright} on a\_b},
  author = {AUTHORS},
  booktitle = {Fabricated Conference \& Fair},
  pages = {12--20},
  year = {2016},
  doi = {10.5555/a_b%c&d},
  url = {https://a.example/x?a=1&b=2#c_d},
  eprint = {1511.00001},
  archivePrefix = {arXiv}
}

@misc{plain,
  title = {A plain preprint},
  author = {Dee Moss},
  year = {2017},
  url = {https://arxiv.org/abs/1701.00002},
  eprint = {1701.00002},
  archivePrefix = {arXiv}
}
"""
    assert dump([hard, plain]) == expected.replace("AUTHORS", authors)


def test_nothing_to_write() -> None:
    assert dump([]) == ""


def test_read_back(hard: Entry, plain: Entry) -> None:
    found = read_back(dump([hard, plain]))
    # The decoder does not know \textbraceleft; LaTeX does, and braces so written need not come in pairs.
    assert found["hard"]["title"] == hard.title.translate({ord(brace): None for brace in "{}"})
    assert found["hard"]["author"] == [*hard["authors"][:2], "Lind, Jr., Ada B.", hard["authors"][3]]
    assert found["hard"]["year"] == "2016"
    assert found["hard"]["booktitle"] == hard.venue_name
    assert found["plain"]["title"] == plain.title
    assert list(found) == ["hard", "plain"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    title=st.text(st.characters(codec="latin-1", exclude_categories=["Cc", "Zs", "Cf"]), min_size=1, max_size=30),
    word=st.sampled_from(["", " FPGA", " Søn & 5%", " a_b #1", " {", " }", ' "x"', " @misc{y,"]),
)
def test_any_title_is_read_back(make: Maker, title: str, word: str) -> None:
    text = dump([make("any", 2017, title=(title + word).strip())])
    assert list(read_back(text)) == ["any"]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_braces_are_balanced(text: str) -> None:
    depth = 0
    for char in protect(text) + encode(text):
        depth += {"{": 1, "}": -1}.get(char, 0)
        assert depth >= 0
    assert depth == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a & b", r"a \& b"),
        ("5% $x$ #1 a_b", r"5\% \$x\$ \#1 a\_b"),
        ("Gödel, Łukasz, Çağlar", r"G{\"o}del, {\L}ukasz, {\c{C}}a{\u{g}}lar"),
        ("1–2 — “x” ‘y’", r"1--2 --- ``x'' `y{\textquoteright}"),
        (r"a\b~c^d", r"a{\textbackslash}b{\textasciitilde}c{\textasciicircum}d"),
        ("量子", "量子"),
        ("≤ α", r"{\ensuremath{\leq}} {\ensuremath{\alpha}}"),
    ],
)
def test_encode(text: str, expected: str) -> None:
    assert encode(text) == expected


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Trained Ternary Quantization", "Trained Ternary Quantization"),
        ("Q-BERT: Hessian Based Quantization of BERT", "{Q-BERT}: {Hessian} Based Quantization of {BERT}"),
        ("From Hashing to CNNs (on FPGAs)", "From Hashing to {CNNs} (on {FPGAs})"),
        ("signSGD: Compressed Optimisation", "{signSGD}: Compressed Optimisation"),
        ("BNN+: Improved Training", "{BNN+}: Improved Training"),
        ("A Survey: A View", "A Survey: A View"),
        ("Newton's method", "{Newton's} method"),
        ("learning weights for a Mars rover", "learning weights for a {Mars} rover"),
        ("Deep learning. Applied to things", "Deep learning. Applied to things"),
        ("", ""),
        ("a  b", "a  b"),
    ],
)
def test_protect(title: str, expected: str) -> None:
    assert protect(title) == expected


def test_a_name_of_the_work_is_protected_whole(make: Maker) -> None:
    entry = make(title="Bi-Real Net: Enhancing Things", aliases=("Bi-Real Net",))
    assert fields_of(entry)["title"] == "{Bi-Real Net}: Enhancing Things"


@pytest.mark.parametrize(
    ("kind", "type_", "field"),
    [
        ("conference", "inproceedings", "booktitle"),
        ("workshop", "inproceedings", "booktitle"),
        ("journal", "article", "journal"),
        ("thesis", "phdthesis", "school"),
        ("report", "techreport", "institution"),
        ("blog", "misc", "howpublished"),
        ("software", "misc", "howpublished"),
        ("book", "book", "publisher"),
    ],
)
def test_kinds(make: Maker, kind: str, type_: str, field: str) -> None:
    entry = make("made", 2017, "The Venue's Full Name", kind=kind)
    assert dump([entry]).startswith(f"@{type_}{{made,")
    assert fields_of(entry)[field] == "The Venue's Full Name"


def test_every_kind_has_a_type() -> None:
    assert tuple(to_bibtex.TYPES) == typing.get_args(Kind)


def test_a_preprint_elsewhere_names_its_server(make: Maker) -> None:
    fields = fields_of(make("made", 2017, "bioRxiv", links={"doi": "10.1101/x{1", "pdf": "https://a.example/a.pdf"}))
    assert fields["howpublished"] == "bioRxiv"
    assert fields["doi"] == "10.1101/x%7B1"
    assert fields["url"] == "https://a.example/a.pdf"
    assert "eprint" not in fields


def test_one_page(make: Maker) -> None:
    assert fields_of(make(kind="journal", pages="e17"))["pages"] == "e17"


def test_the_one_address_says_what_no_other_field_does(make: Maker) -> None:
    links = {"arxiv": "1701.00002", "openreview": "AbC-123_x", "pdf": "https://a.example/a.pdf"}
    fields = fields_of(make("made", 2017, links=links))
    assert fields["url"] == "https://openreview.net/forum?id=AbC-123_x"
    assert "openreview" not in fields
    fields = fields_of(make("made", 2017, links={**links, "url": "https://a.example/x", "doi": "10.5555/a\\b{c"}))
    assert fields["url"] == "https://a.example/x"
    assert fields["openreview"] == "AbC-123_x"
    assert fields["doi"] == "10.5555/a%5Cb%7Bc"
