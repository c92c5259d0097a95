from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkb.imports.work import Work
from qkb.records.text import UNSEEN, unsafe
from qkb.scaffold import clean

NASTY = st.text(alphabet="<>&;/!{}[]()`\"'\\:=#|-8 \n\r\t\x00\u202ascriptonlg", max_size=80)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Plain title", "Plain title"),
        ("<b>Bold</b>  and\nbroken", "Bold and broken"),
        ("A<script>alert(1)</script>B", "A B"),
        ("&amp;lt;script&amp;gt;alert(1)&amp;lt;/script&amp;gt;Net", "Net"),
        ("<img src=x onerror=alert(1)>Net", "Net"),
        ("size < 0.5 MB", "size < 0.5 MB"),
        ("see [this](javascript:alert(1))", ""),
        ("![x](https://a.example/x.png)", ""),
        ("x\u202etxt.exe\u202c", "x txt.exe"),
        ("null\x00byte", "null byte"),
        ("{: onclick=alert(1)}", ""),
        ("x" * 501, ""),
    ],
)
def test_line(text: str, kept: str) -> None:
    assert clean.line(text) == kept


@given(NASTY)
def test_what_is_left_is_harmless(text: str) -> None:
    kept = clean.line(text)
    assert not any(unsafe(kept))
    assert not UNSEEN.search(kept)
    assert "\n" not in kept
    assert clean.line(kept) == kept


@given(NASTY)
def test_a_docstring_ends_where_it_should(text: str) -> None:
    source = f'r"""{clean.docstring(text)} (x)."""\n'
    tree = ast.parse(source)
    assert len(tree.body) == 1
    assert isinstance(tree.body[0], ast.Expr)


def test_a_hostile_work() -> None:
    work, told = clean.work(
        Work(
            title="![](x)", authors=("Ada Lind", "[x](data:y)"), venue="V<script>", arxiv="../../x", doi="10.1/x",
            openreview="a/../b", url="javascript:x", pdf="https://a.example/x.pdf", code=(("data:x", ""),), tags=("x",),
        )
    )  # fmt: skip
    assert work == Work(venue="V", pdf="https://a.example/x.pdf")
    assert len(told) == 4
    assert "the title '![](x)' is refused" in told


def test_a_sound_work_stays() -> None:
    work = Work(
        title="FabNet", authors=("Ada Lind",), year=2018, venue="FABCONF", kind="conference", pages="1-2",
        arxiv="1701.00042", doi="10.5555/x", openreview="FabForum1", url="https://a.example/x",
        code=(("https://code.example/x", "pytorch"),),
    )  # fmt: skip
    assert clean.work(work) == (work, [])
