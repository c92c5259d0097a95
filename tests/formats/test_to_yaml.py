from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from qkb.formats import to_yaml
from qkb.library import Library
from qkb.records.layout import lay_out
from qkb.records.yaml_lines import read

if TYPE_CHECKING:
    from qkb.entry import Entry
    from tests.conftest import LibraryMaker


def test_exactly(plain: Entry) -> None:
    assert to_yaml.dump([plain, plain]) == 2 * (
        "---\n"
        "# papers/2017/plain.yaml\n"
        "title: A plain preprint\n"
        "authors: [Dee Moss]\n"
        "venue: arXiv\n"
        "kind: preprint\n"
        "tags: [qnn]\n"
        "topics: [ternary]\n"
        'links: {arxiv: "1701.00002"}\n'
        "implementation: wanted\n"
        "claims:\n"
        "  - id: claim\n"
        "    says: it holds\n"
        "    where: Sec. 1\n"
        "notes: |\n"
        "  One line.\n"
    )


def test_read_back(hard: Entry, plain: Entry) -> None:
    first, second = yaml.safe_load_all(to_yaml.dump([hard, plain]))
    assert first["authors"] == hard["authors"]
    assert first["code"] == [
        {"url": "https://code.example/a_(b)", "official": True},
        {"url": "https://code.example/c", "framework": "torch7"},
    ]
    assert second["title"] == plain.title
    assert set(second) == {
        "title", "authors", "venue", "kind", "tags", "topics", "links", "implementation", "claims", "notes",
    }  # fmt: skip


def test_a_document_is_the_file_in_its_layout(library: LibraryMaker) -> None:
    path = library.papers / "2016" / "scaled-sign.yaml"
    path.write_text(lay_out(read(path, "scaled-sign.yaml"), "scaled-sign.yaml"))
    (entry,) = Library.open(library.root).query(ids="scaled-sign")
    header, _, rest = path.read_text().partition("\n")
    assert header.startswith("# yaml-language-server")
    assert to_yaml.dump([entry]) == f"---\n# papers/2016/scaled-sign.yaml\n{rest}"


def test_nothing_to_write() -> None:
    assert to_yaml.dump([]) == ""
