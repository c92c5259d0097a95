from __future__ import annotations

import pytest

from qkb.imports import identifiers


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://arxiv.org/abs/1603.05279", "1603.05279"),
        ("http://www.arxiv.org/pdf/1603.05279v4.pdf", "1603.05279"),
        ("https://huggingface.co/papers/2310.11453", "2310.11453"),
        ("https://doi.org/10.48550/arXiv.1603.05279", "1603.05279"),
        ("arXiv:0704.0001v1 [cs.LG]", "0704.0001"),
        ("CoRR abs/1602.00003", "1602.00003"),
        ("https://arxiv.org/abs/1613.05279", ""),
        ("https://arxiv.org/abs/hep-th/9901001", ""),
        ("1603.05279", ""),
    ],
)
def test_arxiv(text: str, found: str) -> None:
    assert identifiers.arxiv(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://doi.org/10.1000/a(b)c", "10.1000/a(b)c"),
        ("https://dl.acm.org/doi/10.1145/3474085.3475224", "10.1145/3474085.3475224"),
        ("http://dx.doi.org/10.1000/x.", "10.1000/x"),
        ("see doi:10.1000/x, p. 3", "10.1000/x"),
        ("https://doi.org/10.48550/arXiv.1603.05279", ""),
        ("https://a.example/10.1000/x", ""),
    ],
)
def test_doi(text: str, found: str) -> None:
    assert identifiers.doi(text) == found


def test_what_bibtex_writes_otherwise_is_read_back() -> None:
    assert identifiers.plain_doi("10.1000/a%7Bb%7D%5Cc%20") == "10.1000/a{b}\\c%20"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://a.example/x_(y)", "https://a.example/x_(y)"),
        ("(https://a.example/x).", "https://a.example/x"),
        ("[x](javascript:alert)", ""),
        ("data:text/html,x", ""),
        ("https://a.example/" + "x" * 1000, ""),
        (r"https://a.example/a\_b\%c", "https://a.example/a_b%c"),
    ],
)
def test_addresses(text: str, found: str) -> None:
    assert identifiers.plain_address(text) == found


def test_of_addresses_the_first_of_each_counts() -> None:
    urls = [
        "https://arxiv.org/abs/1603.05279",
        "https://arxiv.org/abs/1603.00001",
        "https://openreview.net/pdf?id=AbCd-_12",
    ]
    more = ["https://a.example/x", "https://b.example/y", "https://a.example/a.PDF?x=1"]
    assert identifiers.of_addresses([*urls, *more]) == {
        "arxiv": "1603.05279", "openreview": "AbCd-_12", "url": "https://a.example/x", "pdf": "https://a.example/a.PDF?x=1",
    }  # fmt: skip
