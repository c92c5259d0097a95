from __future__ import annotations

import pytest

from qkb.imports.markdown_inline import Part, parts, plain, tidy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a b](https://a.example/x_(y))", [Part("link", "a b", "https://a.example/x_(y)")]),
        ("[[a]](https://a.example)", [Part("link", "a", "https://a.example", boxed=True)]),
        ("[[a](https://a.example)]", [Part("link", "a", "https://a.example", boxed=True)]),
        ('[a](<https://a.example> "t")', [Part("link", "a", "https://a.example")]),
        ("[a [b] c](#x)", [Part("link", "a [b] c", "#x")]),
        ("[**`qnn`**]", [Part("tag", "qnn")]),
        ("<https://a.example>", [Part("link", "", "https://a.example")]),
        ("see https://a.example/x.", [Part("text", "see"), Part("link", "", "https://a.example/x")]),
        ("[a][ref] [b][none]", [Part("link", "a", "https://r.example"), Part("tag", "b")]),
        ('<a href="https://a.example"><b>A</b> b</a>', [Part("link", "A b", "https://a.example")]),
        (
            "a<br/>b</br>c",
            [Part("text", "a"), Part("break", ""), Part("text", "b"), Part("break", ""), Part("text", "c")],
        ),
        ("![x](a.png) [59⭐] :fire:", []),
        (
            "[![Star](https://img.shields.io/github/stars/a/b.svg)](https://github.com/a/b)",
            [Part("badge", "Star", "https://github.com/a/b")],
        ),
        (
            "[![P](https://img.shields.io/badge/Conference-ICML'23%20W-blue)]()",
            [Part("badge", "Conference: ICML'23 W")],
        ),
        (
            '<a href="https://arxiv.org/abs/1603.05279"><img src="https://img.shields.io/badge/arXiv-1603.05279-red"></a>',
            [Part("badge", "arXiv: 1603.05279", "https://arxiv.org/abs/1603.05279")],
        ),
    ],
)
def test_parts(text: str, expected: list[Part]) -> None:
    assert parts(text, {"ref": "https://r.example"}) == expected


def test_plain() -> None:
    assert plain("ECCV**(Oral)**") == "ECCV(Oral)"
    assert plain("*a* _b_ ***c*** `d`") == "a b c d"
    assert tidy("x&nbsp;y <img src=a> <b>z</b>") == "x y z"
