"""Files from strangers: whatever stands in them, the readers return, quickly, and what they return can be written."""

# ruff: noqa: E501 (the table of pieces)

from __future__ import annotations

import time
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qkb.imports import account, bibtex, csl, draft, markdown, ris
from qkb.records.vocabulary import load_vocabulary

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

READERS = (bibtex, csl, markdown, ris)
PIECES = [
    "- ", "* ", "| ", "|---|---|\n", "\n", "[[", "[", "](", "(http://a.example/c)", ")", "]]", "**", "__", "`", '"', "“",
    "”", "2019", "CVPR", "et al.", ". ", ", ", "Ada Lind", "<br>", "<table><tr><td>", "</td></tr></table>", "![", "&amp;",
    "# ", "arXiv:1602.02830", '<a href="', '">', "</a>", "  ", "\t", "{", "}", "\\", "@article{", "@", "=", "#", " and ",
    "title", '{\\"o}', "TY  - ", "ER  - ", "TI  - x", "\r\n", '[{"title":"x"', "}]", "null", '"author":[', "量子", "\0",
    "\x1b", "<!--", "-->", "```", "$", "A Paper about Bits", "+ ", "(", "1. ", "[x] ", "\u202e", "\U0001f525",
    "https://arxiv.org/abs/1602.02830v2", "javascript:alert(1)", "<script>", "{{ 7 * 7 }}", "../../etc/passwd",
    "![x](https://img.shields.io/badge/Conference-ICLR'22-blue)",
]  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=40))
def test_any_file_is_read(reader: ModuleType, pieces: list[str], bare_library: LibraryMaker) -> None:
    text = "".join(pieces)
    vocabulary = load_vocabulary(bare_library.place).vocabulary
    reading = reader.read(text)
    for row in reading.rows:
        assert 1 <= row.line <= text.count("\n") + text.count("\r") + 1
        assert (row.work is None) == bool(row.problem)
        if row.work is not None:
            said = draft.fields(row.work, vocabulary)
            assert draft.text(said, "papers/2000/x.yaml", f"a:1: {row.text}").endswith("\n")
            assert all(part.isalnum() for part in draft.name_for(row.work, ()).split("-"))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20000, "- " + "[a" * 8000, "- x " + "(" * 20000, "- " + "**a " * 5000, "- " + '"a ' * 8000,
        "- " + '<a href="x">' * 1500, "- " + "![x]((" * 4000, "<table>" * 3000, "<table>" + "<tr><td>x" * 3000,
        "<!--" * 5000, "<pre>" * 5000, "- " + "Ada Lind, " * 2000, "- a" + " " * 20000 + "b", "|" * 20000 + "\n|-\n",
        "@a{b,c=" + "{" * 20000, "@a{b,title=" + "{" * 5000 + "}" * 5000 + "}", "@" * 20000,
        "@a{b,title={" + '\\"' * 5000 + "}}", "[" * 50000, '[{"a":' * 20000, "TY  - A\n" * 5000, "- " + "_a" * 8000,
        "*a" * 40 + " " * 20000, "- " + "[![a](" + "(" * 9000, "- https://" + "a(" * 9000, "-" * 20000 + "|" + "-" * 20000,
    ],
    ids=range(26),
)  # fmt: skip
def test_no_file_takes_long(text: str) -> None:
    for reader in READERS:
        begin = time.process_time()
        reader.read(text)
        assert time.process_time() - begin < 5


def test_drafts_of_hostile_rows_are_inert(bare_library: LibraryMaker) -> None:
    source = bare_library.write(
        "in.md",
        "### 2019\n- ../../../etc/passwd is a Title\n- A <script>alert(1)</script> Title of Bits {{ 7 * 7 }} ![x](x.png)\n"
        "- [A Title of a Link](javascript:alert)\n- \x1b[31mRed Title of a Net\u202e\n",
    )
    found = account.run(bare_library.place, [str(source)], write=True)
    written = sorted(path.relative_to(bare_library.papers).as_posix() for path in bare_library.papers.rglob("*.yaml"))
    assert len(found.written) == 4
    assert all(path.startswith(("2019/", "vocabulary/")) for path in written)
    for line in found.written:
        text = (bare_library.root / line.path).read_text()
        body = text.partition("\ntitle:")[2]
        assert "<script>" not in body
        assert "javascript" not in body
        assert not {"\x1b", "\u202e"} & set(text)
