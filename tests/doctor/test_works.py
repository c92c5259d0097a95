from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from qkb.doctor.examine import examine
from qkb.records.load import load_all
from qkb.records.yaml_lines import parse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import LibraryMaker


def found(library: LibraryMaker, check: str, **options: Any) -> list[tuple[str, str, str]]:
    return [(one.file, one.path, one.message) for one in examine(library.place, [check], **options).findings]


def test_a_sound_library_has_no_findings(library: LibraryMaker) -> None:
    for check in ("duplicates", "ids"):
        assert found(library, check) == []


def test_a_title_that_is_spelled_otherwise_may_be_the_same_work(library: LibraryMaker) -> None:
    url = {"url": "https://a.example/tiny"}
    library.record(
        "small-sign", 2016, title="Tiny Signs: Network with One-Bit Weights", authors=["Ada Lind"], links=url
    )
    ((file, path, message),) = found(library, "duplicates")
    assert (file, path) == ("papers/2016/small-sign.yaml", "title")
    assert message.startswith("maybe the work of papers/2015/tiny-sign.yaml (")


def test_works_with_arxiv_ids_of_their_own_are_two(library: LibraryMaker) -> None:
    library.record("small-sign", 2016, title="Tiny Signs: Network with One-Bit Weights", authors=["Ada Lind"])
    assert found(library, "duplicates") == []


def test_an_address_in_common(library: LibraryMaker) -> None:
    library.record(
        "other", 2016, title="Scaled Sign Networks and More", links={"url": "http://journal.example/scaled-sign/"}
    )
    ((file, _, message),) = found(library, "duplicates")
    assert file in {"papers/2016/other.yaml", "papers/2016/scaled-sign.yaml"}
    assert "address" in message


def test_an_identifier_that_another_record_hides_in_an_address(library: LibraryMaker) -> None:
    library.record("hidden", 2015, links={"pdf": "https://arxiv.org/pdf/1511.00001v2.pdf"})
    ((file, _, message),) = found(library, "duplicates")
    assert file == "papers/2015/tiny-sign.yaml"
    assert "papers/2015/hidden.yaml" in message
    assert "arXiv id" in message


def test_what_the_validator_reports_is_not_told_twice(library: LibraryMaker) -> None:
    library.record("again", 2016, links={"arxiv": "1511.00001"})
    assert found(library, "duplicates") == []
    assert len(found(library, "faults")) == 2


@pytest.mark.parametrize(
    ("links", "after", "says"),
    [
        ({"url": "https://arxiv.org/abs/1601.00007v3"}, {"arxiv": "1601.00007"}, "move it to links.arxiv"),
        ({"url": "https://doi.org/10.5555/a.b"}, {"doi": "10.5555/a.b"}, "move it to links.doi"),
        (
            {"url": "https://openreview.net/forum?id=HyQJ-mclg"},
            {"openreview": "HyQJ-mclg"},
            "move it to links.openreview",
        ),
        (
            {"pdf": "https://arxiv.org/pdf/1601.00007.pdf"},
            {"arxiv": "1601.00007", "pdf": "https://arxiv.org/pdf/1601.00007.pdf"},
            "add links.arxiv",
        ),
        (
            {"url": "https://dl.acm.org/doi/10.1145/3490422.3502364"},
            {"doi": "10.1145/3490422.3502364", "url": "https://dl.acm.org/doi/10.1145/3490422.3502364"},
            "add links.doi",
        ),
        ({"doi": "10.48550/arXiv.1601.00007"}, {"arxiv": "1601.00007"}, "move it to links.arxiv"),
        (
            {"arxiv": "1601.00007", "url": "https://arxiv.org/abs/1601.00007"},
            {"arxiv": "1601.00007"},
            "remove links.url",
        ),
    ],
)
def test_identifiers_move_to_their_keys(
    links: dict[str, str], after: dict[str, str], says: str, library: LibraryMaker
) -> None:
    path = library.record("hiding", 2016, links=links)
    path.write_text(f"# of 2016\n{path.read_text()}# the end\n")
    before = load_all(library.place).records["hiding"]
    (finding,) = examine(library.place, ["ids"]).findings
    assert finding.fix is not None
    assert finding.fix.says == says
    done = examine(library.place, ["ids"], fix=True)
    assert (done.findings, done.fixed, done.refused) == ((), (finding,), ())
    assert {key: value for key, value in load_all(library.place).records["hiding"].links if value} == after
    assert load_all(library.place).records["hiding"].model_copy(update={"links": before.links}) == before
    assert "# of 2016\n" in path.read_text()
    assert path.read_text().endswith("# the end\n")
    assert path.name not in {one.file.rpartition("/")[2] for one in examine(library.place, ["ids", "layout"]).findings}


def test_a_fix_that_would_lose_a_comment_is_not_made(library: LibraryMaker) -> None:
    path = library.record("hiding", 2016, links={"url": "https://arxiv.org/abs/1601.00007"})
    text = path.read_text().replace("1601.00007\n", "1601.00007  # seen in May\n")
    path.write_text(text)
    done = examine(library.place, ["ids"], fix=True)
    assert len(done.findings) == 1
    assert done.fixed == ()
    assert "without loss" in done.refused[0].message
    assert path.read_text() == text


def test_addresses_that_contradict_or_lead_to_no_code_are_told_and_left(library: LibraryMaker) -> None:
    library.record("torn", 2016, links={"arxiv": "1601.00007", "pdf": "https://arxiv.org/pdf/1601.00008"})
    library.record(
        "coded", 2016, links={"url": "https://a.example"}, code=[{"url": "https://arxiv.org/abs/1601.00009"}]
    )
    done = examine(library.place, ["ids"], fix=True)
    assert [(one.path, one.fix) for one in done.findings] == [("code[0].url", None), ("links.pdf", None)]
    assert "leads to the arXiv id 1601.00008, but links.arxiv is 1601.00007" in done.findings[1].message
    assert parse((library.papers / "2016/torn.yaml").read_bytes(), "x").data is not None


def test_rows_of_a_list_that_no_record_covers(library: LibraryMaker, tmp_path: Path) -> None:
    source = tmp_path / "L.md"
    source.write_text(
        "# Papers\n\n"
        "- [Scaled Sign Networks](https://doi.org/10.5555/scaled.sign), 2016\n"
        "- [Nobody Has Covered This Work](https://arxiv.org/abs/1902.00003), 2019\n"
    )
    ((file, _, message),) = found(library, "lists", lists=[str(source)])
    assert file == str(source)
    assert message == "`Nobody Has Covered This Work` has no record: qkb import writes a draft"
    library.record("covering", 2019, title="Nobody Has Covered This Work", links={"arxiv": "1902.00003"})
    assert found(library, "lists", lists=[str(source)]) == []
