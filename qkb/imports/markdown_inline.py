r"""The words, links, tags and badges within a line of Markdown or the little HTML that lists use."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from qkb.imports.identifiers import plain_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def _url(name: str) -> str:
    return rf"\s*<?(?P<{name}>[^\s<>()]*(?:\([^\s<>()]*\)[^\s<>()]*)*)>?(?:\s+[\"'(][^)]*)?\s*"


PARTS = re.compile(
    rf"""
      \[\s*!\[(?P<alt>[^\]]*)\]\({_url("shown")}\)\s*\]\({_url("behind")}\)
    | !\[[^\]]*\]\({_url("image")}\)
    | <a\b[^>]*?\bhref\s*=\s*["']?(?P<href>[^"'\s>]*)["']?[^>]*>(?P<anchor>.*?)</a\s*>
    | \[\s*\[(?P<inner>[^\[\]]*)\]\({_url("inner_url")}\)\s*\]
    | \[\s*\[(?P<double>[^\[\]]*)\]\s*\]\({_url("double_url")}\)
    | \[(?P<label>(?:[^\[\]]|\[[^\[\]]*\])*)\]\({_url("label_url")}\)
    | \[(?P<named>[^\[\]]+)\]\[(?P<name>[^\[\]]*)\]
    | <(?P<auto>https?://[^\s<>]+)>
    | (?P<bare>https?://[^\s<>\[\]|"“”]+)
    | \[(?P<tag>[^\[\]]{{1,80}})\]
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
BREAK = re.compile(r"<\s*/?\s*br\s*/?\s*>", re.IGNORECASE)
IMAGE = re.compile(r"<img\b[^>]*?\bsrc\s*=\s*[\"']?([^\"'\s>]*)", re.IGNORECASE)
HTML = re.compile(r"<!--.*?-->|</?[A-Za-z][^<>]*>")
BADGE = re.compile(r"(?:img\.)?shields\.io/(?:static/v1\?|badge/)([^?#\s]*)", re.IGNORECASE)
EMPHASIS = re.compile(r"(?<![\w*])([*_]{1,3})(?=\S)(.{1,500}?)(?<=\S)\1(?![\w*])")
STARS = re.compile(r"\b\d[\d.,k+]*\s*(?:⭐️?|★|:star2?:)|(?:⭐️?|★|:star2?:)\s*\d[\d.,k+]*", re.IGNORECASE)
SHORTCODE = re.compile(r":[a-z][a-z0-9_+-]*:")
EMOJI = re.compile("[\u2600-\u27bf\u2b00-\u2bff\ufe0f\U0001f000-\U0001faff]")
ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+.!|&<>~$-])")


@dataclass(frozen=True)
class Part:
    """A part of a line.

    Args:
        kind: a text, a link, a tag in brackets, a badge (an image that says something), or a line break.
        text: what a reader sees.
        url: where it leads; empty where it does not.
        boxed: whether a link stands in brackets of its own.
    """

    kind: Literal["text", "link", "tag", "badge", "break"]
    text: str
    url: str = ""
    boxed: bool = False


def parts(text: str, addresses: Mapping[str, str] | None = None) -> list[Part]:
    """Return the parts of a line.

    >>> [(part.kind, part.text) for part in parts("[[ICLR](https://a.example)] **A Net** [`bnn`] [59⭐]")]
    [('link', 'ICLR'), ('text', '**A Net**'), ('tag', 'bnn')]
    """
    return [part for part in _parts(text, addresses or {}) if part.text or part.url or part.kind == "break"]


def _parts(text: str, addresses: Mapping[str, str]) -> Iterator[Part]:
    place = 0
    for match in PARTS.finditer(text):
        yield from _texts(text[place : match.start()])
        place = match.end()
        yield _found(match, addresses)
    yield from _texts(text[place:])


def _texts(text: str) -> Iterator[Part]:
    """Yield text, cut at line breaks."""
    for number, piece in enumerate(BREAK.split(text)):
        if number:
            yield Part("break", "")
        yield Part("text", tidy(piece))


def _found(match: re.Match[str], addresses: Mapping[str, str]) -> Part:
    """Return the part that a match of `PARTS` is."""
    part = Part("link", "", plain_address(match["auto"] or (match["bare"] or "").rstrip(".,;:!?*_'")))
    if match["shown"] is not None:
        part = Part("badge", _badge(match["shown"]) or plain(match["alt"]), match["behind"])
    elif match["image"] is not None:
        part = Part("badge", _badge(match["image"]))
    elif match["anchor"] is not None:
        image = IMAGE.search(match["anchor"])
        part = Part("badge" if image else "link", _badge(image[1]) if image else plain(match["anchor"]), match["href"])
    elif match["named"] is not None:
        url = addresses.get((match["name"] or match["named"]).casefold(), "")
        part = Part("link" if url else "tag", plain(match["named"]), url)
    elif match["tag"] is not None:
        part = Part("tag", plain(match["tag"]))
    for label in ("inner", "double", "label"):
        if match[label] is not None:
            part = Part("link", plain(match[label]), match[f"{label}_url"], boxed=label != "label")
    return part


def tidy(text: str) -> str:
    """Return text without HTML, stars and pictures, but with its emphasis.

    >>> tidy("A &amp; <b>B</b> :fire: \U0001f525  C")
    'A & B C'
    """
    text = html.unescape(HTML.sub(" ", text))
    text = EMOJI.sub(" ", SHORTCODE.sub(" ", STARS.sub(" ", text)))
    return " ".join(text.split())


def plain(text: str) -> str:
    r"""Return text without emphasis, code marks and backslashes, too.

    >>> plain("**`qnn`**"), plain("__`V`__"), plain(r"A\_b *c*"), plain("2*3*4 snake_case_name")
    ('qnn', 'V', 'A_b c', '2*3*4 snake_case_name')
    """
    text = tidy(text).replace("`", "")
    for _ in range(3):
        text = EMPHASIS.sub(r"\2", text)
    text = text.replace("**", "")  # lists also emphasise within words, where Markdown does not
    return ESCAPED.sub(r"\1", text).strip()


def _badge(url: str) -> str:
    """Return what a badge of shields.io says, label and message; an empty text for another picture.

    >>> _badge("https://img.shields.io/badge/Conference-ICLR'22-blue")
    "Conference: ICLR'22"
    """
    found = BADGE.search(url)
    if not found:
        return ""
    said = unquote(found[1]).replace("--", "\0").replace("__", "\1").split("-")
    texts = [part.replace("\0", "-").replace("\1", "_").replace("_", " ").strip() for part in said]
    return f"{texts[0]}: {texts[1]}" if len(texts) > 2 else texts[0] if len(texts) == 2 else ""
