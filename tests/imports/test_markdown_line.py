# ruff: noqa: E501 (tables of what is read)

from __future__ import annotations

from typing import Any

import pytest

from qkb.imports.markdown_line import read_line
from qkb.imports.work import Work

PAPER = "https://arxiv.org/abs/1901.00001"
CODE = "https://github.com/a/b"


# Every line is made up, in a shape that some list has.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Plain Title of a Net", {}),
        ("**Plain Title of a Net.**", {}),
        (f"[Plain Title of a Net]({PAPER})", {"arxiv": "1901.00001"}),
        (f"[**Plain Title of a Net**]({PAPER}) [[code]]({CODE})", {"arxiv": "1901.00001", "code": ((CODE, ""),)}),
        (
            f"[[CVPR]({PAPER})] Plain Title of a Net. [__`qnn`__] [[torch]({CODE})] [71:star:]",
            {"arxiv": "1901.00001", "venue": "CVPR", "tags": ("qnn",), "code": ((CODE, ""),)},
        ),
        (
            f'"Plain Title of a Net", CVPR, 2023. [[paper]({PAPER})] [[code]({CODE})] [**`MP`**]',
            {"arxiv": "1901.00001", "venue": "CVPR", "year": 2023, "tags": ("MP",), "code": ((CODE, ""),)},
        ),
        (
            "Lind, Ada, et al. “Plain Title of a Net.” arXiv preprint arXiv:1901.00001 (2019). (Assigned to @Somebody)",
            {"arxiv": "1901.00001", "venue": "arXiv", "year": 2019, "authors": ("Ada Lind",), "more_authors": True},
        ),
        (
            f'Ada Lind, Bo Ruiz. "**Plain Title of a Net**." CVPR(2014). [[pdf]]({PAPER}) (**Short**)',
            {"arxiv": "1901.00001", "venue": "CVPR", "year": 2014, "authors": ("Ada Lind", "Bo Ruiz")},
        ),
        (
            f"Plain Title of a Net, *Ada Lind et al, NIPS.* [pdf]({PAPER})",
            {"arxiv": "1901.00001", "venue": "NIPS", "authors": ("Ada Lind",), "more_authors": True},
        ),
        (
            f"**Plain Title of a Net.** *Ada Lind, Bo Ruiz.* ICML 2020. [[pdf]]({PAPER})",
            {"arxiv": "1901.00001", "venue": "ICML", "year": 2020, "authors": ("Ada Lind", "Bo Ruiz")},
        ),
        (
            "Ada Lind and Bo Ruiz. Plain Title of a Net. In *Proceedings of Nets (PNC)*, 2015.",
            {"venue": "Proceedings of Nets (PNC)", "year": 2015, "authors": ("Ada Lind", "Bo Ruiz")},
        ),
        (
            "Lind, A., & Ruiz, B. (2018). Plain Title of a Net. *Journal of Bits*, 3(2), 1-20.",
            {"venue": "Journal of Bits", "year": 2018, "authors": ("A. Lind", "B. Ruiz"), "pages": "1-20"},
        ),
        (f"**2017-ICLR**-[Plain Title of a Net]({PAPER})", {"arxiv": "1901.00001", "venue": "ICLR", "year": 2017}),
        (f"2018-ICLRo-[Plain Title of a Net]({PAPER})", {"arxiv": "1901.00001", "venue": "ICLR", "year": 2018}),
        (f"2018-ICLRw-[Plain Title of a Net]({PAPER})", {"arxiv": "1901.00001", "venue": "ICLRw", "year": 2018}),
        (
            f"[Plain Title of a Net]({PAPER}), Ada Lind, Bo Ruiz and Cy Ode, 2019",
            {"arxiv": "1901.00001", "year": 2019, "authors": ("Ada Lind", "Bo Ruiz", "Cy Ode")},
        ),
        (
            f"[Plain Title of a Net]({PAPER}), [notes]({CODE}/blob/main/n.md), Ada Lind, Bo Ruiz,2019",
            {"arxiv": "1901.00001", "year": 2019, "authors": ("Ada Lind", "Bo Ruiz")},
        ),
        (
            f"[Plain Title of a Net]({PAPER}), [further-notes]({CODE}/blob/main/n.md), Ada Lind, Bo Ruiz, 2019",
            {"arxiv": "1901.00001", "year": 2019, "authors": ("Ada Lind", "Bo Ruiz")},
        ),
        (f"[Plain Title of a Net]({PAPER}) | [2019/02]", {"arxiv": "1901.00001", "year": 2019}),
        (f"[Plain Title of a Net]({PAPER}) [ICML '17, Bits Company]", {"arxiv": "1901.00001", "venue": "ICML", "year": 2017}),
        ("(NeurIPS 2020, oral) Plain Title of a Net", {"venue": "NeurIPS", "year": 2020}),
        (f"Plain Title of a Net (ICLR 2019) [[paper]({PAPER})]", {"arxiv": "1901.00001", "venue": "ICLR", "year": 2019}),
        (f"Plain Title of a Net, ICCV 2019, [Paper]({PAPER}), [Code]({CODE})",
         {"arxiv": "1901.00001", "venue": "ICCV", "year": 2019, "code": ((CODE, ""),)}),
        (f"[**Runtime**] Plain Title of a Net(@lab.example) [[pdf]]({PAPER})", {"arxiv": "1901.00001", "tags": ("Runtime",)}),
        (
            ("[![Star](https://img.shields.io/github/stars/a/b.svg)](https://github.com/a/b)"
            "[![Publish](https://img.shields.io/badge/Conference-ICLR'22-blue)]()<br>"
            f"[Plain Title of a Net]({PAPER}) <br> Ada Lind, Bo Ruiz"),
            {"arxiv": "1901.00001", "venue": "ICLR", "year": 2022, "authors": ("Ada Lind", "Bo Ruiz"), "code": ((CODE, ""),)},
        ),
        ("Plain Title of a Net ([code](https://github.com/a/b))", {"code": ((CODE, ""),)}),
        ("Plain Title of a Net.pdf", {}),
        (f'<a href="{PAPER}">Plain Title of a Net</a> <b>ECCV 2018</b>', {"arxiv": "1901.00001", "venue": "ECCV", "year": 2018}),
        (f"[Plain Title of a Net]({PAPER}) [pytorch]({CODE}) [slides](https://s.example)",
         {"arxiv": "1901.00001", "code": ((CODE, "pytorch"),)}),
    ],
)  # fmt: skip
def test_shapes(text: str, expected: dict[str, Any]) -> None:
    assert read_line(text).works == [Work(title="Plain Title of a Net", **expected)]


def test_two_works_in_one_item() -> None:
    text = (
        "Lind, Ada, and Bo Ruiz. “Tiny Net: Few Bits.” arXiv preprint arXiv:1901.00001 (2019). + Tiny Net on a Chip: "
        "Making Fast Nets (https://blog.example/2019/08/tiny.html)"
    )
    first, second = read_line(text).works
    assert (first.title, first.arxiv, first.url) == ("Tiny Net: Few Bits", "1901.00001", "")
    assert (second.title, second.url) == (
        "Tiny Net on a Chip: Making Fast Nets",
        "https://blog.example/2019/08/tiny.html",
    )


def test_two_links_to_papers_are_two_works() -> None:
    text = f"[The First Title of All]({PAPER}), [The Second Title of All](https://arxiv.org/abs/1902.00002)"
    assert [(work.title, work.arxiv) for work in read_line(text).works] == [
        ("The First Title of All", "1901.00001"),
        ("The Second Title of All", "1902.00002"),
    ]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ('Why "Nets" are not enough', 'Why "Nets" are not enough'),
        ('A "Net" of Bits', 'A "Net" of Bits'),
        ("What Are Bits For?", "What Are Bits For?"),
        ("Training with +1 or -1", "Training with +1 or -1"),
        ("[A Net (and More): Bits](https://arxiv.org/abs/1901.00001)", "A Net (and More): Bits"),
        ("A Net: *really* fast", "A Net: really fast"),
        ("ALL IN CAPITALS, AND A COMMA", "ALL IN CAPITALS, AND A COMMA"),
    ],
)
def test_titles_stay_whole(text: str, title: str) -> None:
    assert read_line(text).works[0].title == title


def test_what_a_line_is() -> None:
    assert read_line("[Overview](#overview)").only_within
    assert read_line("https://a.example/x").only_address
    assert read_line(PAPER).works[0].arxiv == "1901.00001"
    assert not read_line("Plain words").evidence
    assert read_line(f"[paper]({PAPER})").evidence


def test_a_short_title_before_authors() -> None:
    work = read_line("[Dim Nets](https://a.example/dim.pdf), Ada Lind, Bo Ruiz, Cy Ode, 2014").works[0]
    assert (work.title, work.authors, work.year) == ("Dim Nets", ("Ada Lind", "Bo Ruiz", "Cy Ode"), 2014)
    assert work.pdf == "https://a.example/dim.pdf"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        (f"[“Net-Bits” Rules for Small Nets]({PAPER})", "“Net-Bits” Rules for Small Nets"),
        (f"[“Rules for Small Nets”]({PAPER})", "Rules for Small Nets"),
        (f'["Lossless" Nets of Bits]({PAPER})', '"Lossless" Nets of Bits'),
        (f'[Rules for "Small Nets"]({PAPER})', 'Rules for "Small Nets"'),
    ],
)
def test_quotation_marks_within_a_title(text: str, title: str) -> None:
    assert read_line(text).works[0].title == title
