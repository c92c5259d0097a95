from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkb.links.scan import links


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("[a](https://a.example/x)", ["https://a.example/x"]),
        ('[a](https://a.example/x "title")', ["https://a.example/x"]),
        ("[a](<https://a.example/x>)", ["https://a.example/x"]),
        ("[a](https://a.example/x_(y))", ["https://a.example/x_(y)"]),
        ("[a][1]\n\n[1]: https://a.example/x", ["https://a.example/x"]),
        ("<https://a.example/x>.", ["https://a.example/x"]),
        ("See https://a.example/x, or (https://b.example/y).", ["https://a.example/x", "https://b.example/y"]),
        ("**https://a.example/x**", ["https://a.example/x"]),
        ("| https://a.example/x | https://b.example |", ["https://a.example/x", "https://b.example"]),
        ('<a href="https://a.example/x">', ["https://a.example/x"]),
        ("<img src='pictures/x.png'>", ["pictures/x.png"]),
        ("[![b](https://a.example/b.svg)](https://a.example/x)", ["https://a.example/b.svg", "https://a.example/x"]),
        (
            "[a](CONTRIBUTING.md#set-up) [b](javascript:alert(1)) [c]()",
            ["CONTRIBUTING.md#set-up", "javascript:alert(1)"],
        ),
        ("`https://a.example/x` ``https://b.example/`x``", []),
        ("```sh\ncurl https://a.example/x\n```\nhttps://b.example", ["https://b.example"]),
        ("~~~\nhttps://a.example\n```\n~~~", []),
        ("<!-- https://a.example\nhttps://b.example -->", []),
        ("https://a.example/x#y?z=1&w=%20", ["https://a.example/x#y?z=1&w=%20"]),
        ("HTTPS://A.example/x", ["HTTPS://A.example/x"]),
        ("no link: example.org, https://", []),
    ],
)
def test_links_in_all_shapes(text: str, targets: list[str]) -> None:
    assert [found.target for found in links(text)] == targets


def test_lines() -> None:
    text = "# A\n\nhttps://a.example\n\n```\nx\n```\n<!--\n-->\n[b](b.md)\nhttps://a.example\n"
    assert [tuple(found) for found in links(text)] == [
        ("https://a.example", 3),
        ("b.md", 10),
        ("https://a.example", 11),
    ]


@given(st.text(alphabet="a`~<>()[]!-: \n\"'htps/.", max_size=200))
def test_any_text_has_links_on_its_own_lines(text: str) -> None:
    rows = text.split("\n")
    for target, line in links(text):
        assert target in rows[line - 1]


def test_long_hostile_text_takes_no_time() -> None:
    for piece in ("[", "](", "<!--", "`", "](a ", "https://(", '[a](b "'):
        assert isinstance(links(piece * 20_000), list)
