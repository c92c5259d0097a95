"""Finds the comments of a YAML file and what each belongs to.

A comment on a line of its own belongs to the key or list item that follows it; one at the end of a line belongs to
the key or list item of that line. The line that leads editors to the schema is no comment: every layout writes it
anew. YAML readers drop comments, so they are found here between the tokens.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import yaml
from yaml.nodes import MappingNode

from qkb.records.yaml_lines import compose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yaml.nodes import Node


EDITORS = "# yaml-language-server:"


@dataclass
class Comments:
    """The comments of a file; each keeps its `#`.

    Args:
        before: dotted path -> the comments on lines of their own above it.
        beside: dotted path -> the comment at the end of its line.
        after: the comments below everything.
    """

    before: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    beside: dict[str, str] = field(default_factory=dict)
    after: list[str] = field(default_factory=list)

    def within(self, path: str) -> bool:
        """Tell whether a comment belongs to a part of what stands at a path."""
        return any(other.startswith((f"{path}.", f"{path}[")) for other in (*self.before, *self.beside))

    def texts(self) -> list[str]:
        """Return every comment, sorted: two layouts of one file have the same."""
        return sorted([*chain.from_iterable(self.before.values()), *self.beside.values(), *self.after])


@dataclass(frozen=True)
class _Spot:
    """Where a key or a list item begins; `flow` where brackets are around it."""

    line: int
    column: int
    path: str
    flow: bool


def find_comments(text: str) -> Comments:
    """Return the comments of a file that can be read without fault."""
    comments = Comments()
    head, end, body = text.partition("\n")
    if "#" not in (body if head.startswith(EDITORS) else head + end + body):  # true of most files
        return comments
    spots = list(_spots(compose(text.encode()), "", flow=False))
    lines = text.split("\n")
    for line, column, depth in _hashes(text):
        comment = lines[line][column:].rstrip()
        if not lines[line][:column].strip():
            if comment.startswith(EDITORS):
                continue
            following = next((spot.path for spot in spots if spot.line > line), None)
            (comments.after if following is None else comments.before[following]).append(comment)
            continue
        before = [spot.path for spot in spots if (spot.line, spot.column) < (line, column) and (depth or not spot.flow)]
        owner = before[-1] if before else None
        if owner is None:  # beside the mark of the document's start
            comments.before[spots[0].path].append(comment)
        elif owner in comments.beside:
            comments.beside[owner] += f" {comment}"
        else:
            comments.beside[owner] = comment
    return comments


def _spots(node: Node | None, path: str, *, flow: bool) -> Iterator[_Spot]:
    """Yield where each key and list item begins, in the order of the file."""
    if not isinstance(node, yaml.CollectionNode):
        return
    inside = flow or bool(node.flow_style)
    if isinstance(node, MappingNode):
        pairs = [(f"{path}.{key.value}" if path else str(key.value), key, value) for key, value in node.value]
    else:
        pairs = [(f"{path}[{index}]", item, item) for index, item in enumerate(node.value)]
    for here, start, value in pairs:
        yield _Spot(start.start_mark.line, start.start_mark.column, here, inside)
        yield from _spots(value, here, flow=inside)


def _hashes(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield (line, column, depth of brackets) of each `#` that begins a comment; lines are counted from 0."""
    depth = 0
    end = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        yield from _in_gap(text, end, token.start_mark.index, depth)
        if isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken):
            depth += 1
        elif isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken):
            depth -= 1
        elif isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
            head = text.find("\n", token.start_mark.index)
            yield from _in_gap(text, token.start_mark.index, head, depth)
        end = max(end, token.end_mark.index)
    yield from _in_gap(text, end, len(text), depth)


def _in_gap(text: str, start: int, end: int, depth: int) -> Iterator[tuple[int, int, int]]:
    """Yield the comments between two tokens: nothing else stands there than spaces and line ends."""
    while (found := text.find("#", start, end)) >= 0:
        yield text.count("\n", 0, found), found - text.rfind("\n", 0, found) - 1, depth
        start = text.find("\n", found)
        if start < 0:
            return
