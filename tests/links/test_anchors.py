from __future__ import annotations

import io
import zlib
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkb.links.anchors import BadPageError, decode, has_anchor, read


@dataclass
class Body:
    """A response in memory."""

    stream: io.BytesIO
    headers: dict[str, str] = field(default_factory=dict)

    def read(self, amt: int, *, decode_content: bool) -> bytes:
        assert not decode_content
        return self.stream.read(amt)


def packed(data: bytes) -> bytes:
    return zlib.compress(data, 9)


@pytest.mark.parametrize(("size", "whole"), [(0, True), (99, True), (100, True), (101, False), (10_000_000, False)])
def test_no_more_than_the_limit_is_read_packed_or_not(size: int, whole: bool) -> None:
    for headers, data in (({}, bytes(size)), ({"Content-Encoding": "deflate"}, packed(bytes(size)))):
        assert read(Body(io.BytesIO(data), headers), 100) == (bytes(min(size, 100)), whole)


def test_what_is_cut_off_is_not_an_error() -> None:
    data = packed(b"<a id=x>" * 1000)
    page, _ = read(Body(io.BytesIO(data[: len(data) - 6]), {"Content-Encoding": "deflate"}), 100_000)
    assert page.startswith(b"<a id=x>")


def test_what_is_not_packed_as_it_says() -> None:
    with pytest.raises(BadPageError):
        read(Body(io.BytesIO(b"plain"), {"Content-Encoding": "gzip"}), 100)


@given(st.binary(max_size=200), st.text(max_size=40))
def test_any_bytes_are_decoded(page: bytes, kind: str) -> None:
    assert isinstance(decode(page, f"text/html; charset={kind}"), str)


@pytest.mark.parametrize("name", ["rot13", "base64", "zip", "idna", "undefined", "utf-7", "utf-16", "punycode"])
def test_odd_encodings_do_no_harm(name: str) -> None:
    assert isinstance(decode(b"<a id=x>\xff", f"text/html; charset={name}"), str)


@given(st.text(alphabet="<>a id='x'&;!-/=\\\"", max_size=120), st.text(min_size=1, max_size=10))
def test_any_markup_is_searched(text: str, fragment: str) -> None:
    assert has_anchor(text, fragment) in {True, False}


def test_comments_hold_no_anchors() -> None:
    assert not has_anchor('<!-- <a id="x"> --><p>', "x")
    assert not has_anchor('<input name="x">', "x")
