"""Finds the links in Markdown, with their lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
CODE = re.compile(r"(?<!`)(`{1,9})(?!`).{1,2000}?(?<!`)\1(?!`)")
COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
ADDRESS = re.compile(r"https?://[^\s<>\"`{}|^\\]{1,4000}", re.IGNORECASE)
# Every repetition has a bound, so that no text makes the search take long.
# [text](target "title"), [label]: target, href="target"
TARGET = re.compile(
    r"""\]\(\s*<?(?P<inline>[^\s()<>]{0,4000}(?:\([^\s()<>]{0,400}\)[^\s()<>]{0,400}){0,9})>?(?:\s{1,9}["'(][^\n]{0,300}?)?\s{0,9}\)
      | ^[ ]{0,3}\[[^\]\n]{1,300}\]:\s{0,9}<?(?P<reference>[^\s<>]{1,4000})
      | \s(?:href|src)\s{0,9}=\s{0,9}["'](?P<attribute>[^"'\s]{1,4000})["']""",
    re.VERBOSE | re.MULTILINE,
)
TRAILING = ".,;:!?'*_~"


class Found(NamedTuple):
    """A link and its line, counted from 1."""

    target: str
    line: int


def links(text: str) -> list[Found]:
    """Return the links of Markdown text in their order, once for each place; code and comments have none.

    >>> links("See [a](https://a.example/x_(y)) or <https://b.example>.")
    [Found(target='https://a.example/x_(y)', line=1), Found(target='https://b.example', line=1)]
    """
    plain = _without_code(text)
    found: dict[int, str] = {}
    match = ADDRESS.search(plain)
    while match is not None:
        found[match.start()] = ended(match[0])
        match = ADDRESS.search(plain, match.start() + max(len(found[match.start()]), len("http://")))
    for place in TARGET.finditer(plain):
        name = place.lastgroup or "inline"
        if place[name] and not place[name].lower().startswith(("http://", "https://")):
            found[place.start(name)] = place[name]
    return [Found(found[start], plain.count("\n", 0, start) + 1) for start in sorted(found)]


def ended(address: str) -> str:
    """Return an address without what belongs to the sentence around it.

    >>> ended("https://a.example/x)."), ended("https://a.example/x_(y)"), ended("https://a.example/[1]")
    ('https://a.example/x', 'https://a.example/x_(y)', 'https://a.example/[1]')
    """
    pairs = {")": "(", "]": "["}
    open_ones: list[str] = []
    for place, char in enumerate(address):
        if char in "([":
            open_ones.append(char)
        elif char in pairs and (not open_ones or open_ones.pop() != pairs[char]):
            address = address[:place]
            break
    return address.rstrip(TRAILING)


def _without_code(text: str) -> str:
    """Blank out code and comments; every line stays where it is."""
    kept = "\n".join(_lines_without_code(COMMENT.sub(_blank, text)))
    return CODE.sub(_blank, kept)


def _lines_without_code(text: str) -> Iterator[str]:
    fence = ""
    for line in text.split("\n"):
        opening = FENCE.match(line)
        if fence:
            if opening and opening[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            yield ""
        elif opening:
            fence = opening[1]
            yield ""
        else:
            yield line


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])
