from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkb.formats.latex import decode, encode

# Text as records have it: one line, single spaces within.
LINES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]), min_size=1).map(
    lambda text: " ".join(text.split())
)


@given(LINES)
def test_decode_reads_what_encode_writes(text: str) -> None:
    assert decode(encode(text)) == text


@given(st.text("\\{}$&%#_^~'`\"-?!<>,–—‘’“”éüıα x", min_size=1).map(lambda text: " ".join(text.split())))
def test_decode_reads_hostile_text_that_encode_writes(text: str) -> None:
    assert decode(encode(text)) == text


def test_every_character_is_read_back() -> None:
    wrong = [
        char
        for char in map(chr, range(33, 0x3100))
        if unicodedata.category(char) not in {"Cs", "Zs", "Zl", "Zp", "Cc"}
        and decode(f"a{encode(char)}b") != f"a{char}b"
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"{\"o}\'{\i}\c{c}\v S\H{o}\'\i x", "öíçŠőíx"),
        (r"\' e \'ecole \~n", "é école ñ"),
        (r"\L{}ukasz \O rsted \ss{} \AA", "Łukasz Ørsted ß Å"),
        (r"$k$-bit $\ell_1$ $10^{5}$ $x^2_i$ $\alpha$", "k-bit ℓ₁ 10⁵ x²_i α"),
        (r"\textbf{B}\emph{i}{\textsc t}s", "Bits"),
        (r"D.~E. Knuth\\and", "D. E. Knuth and"),
        ("``a'' `b' c--d e---f", "“a” ‘b' c–d e—f"),
        (r"\url{https://a.example}", "https://a.example"),
        (r"50\% \& \#1 \_ \$ \{x\}", "50% & #1 _ $ {x}"),
        (r"a\,b\-c\/d", "a bcd"),
        (r"\unknown{x} \^ \emph", "x"),
        ("{{{", ""),
        ("}}a", "a"),
        (r"\^", ""),
        (r"\'", ""),
        (r"{\'}a", "a"),
    ],
)
def test_decode(latex: str, text: str) -> None:
    assert decode(latex) == text


def test_no_text_goes_too_deep() -> None:
    assert decode("{" * 5000 + "a" + "}" * 5000) in {"", "a"}
    assert isinstance(decode('\\"' * 5000), str)


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("--", "-{-}"),
        ("''", "'{'}"),
        ('"', '{"}'),
        ("?‘", "?{`}"),
        ("ï", r"{\"i}"),
        ("Ű − →", r"{\H{U}} {\textminus} {\ensuremath{\rightarrow}}"),
        ("Ж", "Ж"),
        ("ó ό", r"{\'o} ό"),
    ],
)
def test_encode(text: str, latex: str) -> None:
    assert encode(text) == latex
