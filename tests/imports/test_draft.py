from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.imports import draft
from qkb.imports.work import Work
from qkb.records.layout import HEADER, lay_out
from qkb.records.model import Venue
from qkb.records.vocabulary import load_vocabulary
from qkb.records.yaml_lines import parse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import LibraryMaker

WORK = Work(
    title="A Net: Of Bits",
    authors=("Ada Lind", "Bo Ruiz"),
    year=2019,
    venue="FabConf",
    pages="1-2",
    arxiv="1901.00001",
    url="https://a.example/\x1b[31m",
    code=(("https://github.com/a/b", ""), ("https://github.com/a/b", "pytorch"), ("https://github.com/c/d", "")),
    tags=("BNN", "Ternary", "fast"),
)


def test_fields_say_what_the_source_says(library: LibraryMaker) -> None:
    said = draft.fields(WORK, load_vocabulary(library.place).vocabulary)
    assert said == {
        "title": "A Net: Of Bits",
        "authors": ["Ada Lind", "Bo Ruiz"],
        "venue": "FABCONF",
        "kind": "conference",
        "pages": "1-2",
        "tags": ["bnn"],
        "topics": ["ternary"],
        "links": {"arxiv": "1901.00001"},
        "code": [{"url": "https://github.com/a/b"}, {"url": "https://github.com/c/d"}],
        "implementation": "wanted",
    }
    assert draft.missing(said) == ("claims", "notes")


def test_nothing_is_invented(library: LibraryMaker) -> None:
    work = Work(title="A Net", authors=("Ada Lind",), more_authors=True, venue="Some Workshop")
    said = draft.fields(work, load_vocabulary(library.place).vocabulary)
    assert said == {"title": "A Net", "venue": "Some Workshop", "implementation": "wanted"}
    assert draft.missing(said) == ("authors", "kind", "tags", "topics", "links", "claims", "notes")


def test_the_text_is_in_the_layout(library: LibraryMaker) -> None:
    said = draft.fields(WORK, load_vocabulary(library.place).vocabulary)
    text = draft.text(said, "papers/2019/a-net.yaml", "list.md:3: a\nrow \x1b with # marks")
    assert text.startswith(f"{HEADER}\n# draft from list.md:3: a")
    assert "\x1b" not in text
    assert lay_out(parse(text.encode(), "papers/2019/a-net.yaml"), "papers/2019/a-net.yaml") == text


@pytest.mark.parametrize(
    ("printed", "venue"),
    [
        ("fabconf", "FABCONF"),
        ("Fabricated Conference on Networks", "FABCONF"),
        ("Proceedings of the 2019 Fabricated Conference on Networks", "FABCONF"),
        ("Fabricated Conference on Networks Workshops", "Fabricated Conference on Networks Workshops"),
        ("Conference of Other Things in a Place", "Conference of Other Things in a Place"),
        ("", ""),
    ],
)
def test_venues(library: LibraryMaker, printed: str, venue: str) -> None:
    venues = load_vocabulary(library.place).vocabulary.venues
    assert draft.venue_of(printed, venues) == venue


def test_a_venue_within_another_name_is_not_taken() -> None:
    venues = {"NIPS": Venue(name="Advances in Neural Systems", kinds=("conference",), description="x", aliases=())}
    assert draft.venue_of("Journal of NIPS Studies and Letters", venues) == "Journal of NIPS Studies and Letters"


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("XNOR-Net: ImageNet Classification", "xnor-net"),
        ("BNN+: Improved Training", "bnn-plus"),
        ("LSQ++: Lower Running Time", "lsq-plusplus"),
        ("On-chip Memory for the Nets of the World of Bits", "on-chip-memory-nets-world-bits"),
        ("Élan Vital", "elan-vital"),
        ("Trained Ternary Quantization", "trained-ternary-quantization"),
        ("A Very Extraordinarily Longwinded Characterisation of Quantization Methodologies", None),
        ("量子化", None),
        ("?!", None),
        ("../../etc/passwd", "etc-passwd"),
    ],
)
def test_names(title: str, name: str | None) -> None:
    found = draft.name_for(Work(title=title), ())
    assert name is None or found == name
    assert draft.name_for(Work(title=title), ()) == found
    assert len(found) <= draft.LONGEST
    assert set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert found == found.strip("-")


def test_names_are_new() -> None:
    work = Work(title="A Net", year=2019)
    assert draft.name_for(work, {"a-net"}) == "a-net-2019"
    assert draft.name_for(work, {"a-net", "a-net-2019", "a-net-2"}) == "a-net-3"
    assert draft.name_for(Work(title="網", arxiv="1901.00001"), ()) == "1901-00001"


@pytest.mark.parametrize(
    ("work", "year"),
    [
        (Work(year=2019, arxiv="1701.00001"), (2019, "source")),
        (Work(arxiv="1701.00001"), (2017, "arXiv id")),
        (Work(year=1066), (None, "")),
        (Work(), (None, "")),
    ],
)
def test_years(work: Work, year: tuple[int | None, str]) -> None:
    assert draft.year_of(work) == year


def test_create_never_overwrites(tmp_path: Path) -> None:
    target = tmp_path / "2019" / "a.yaml"
    assert draft.create(target, "one")
    assert not draft.create(target, "two")
    assert target.read_text() == "one"
    assert [path.name for path in (tmp_path / "2019").iterdir()] == ["a.yaml"]


def test_create_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "2019").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link to another place"):
        draft.create(tmp_path / "2019" / "a.yaml", "one")
    assert list((tmp_path / "elsewhere").iterdir()) == []
