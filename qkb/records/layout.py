"""The one layout of a record's file: `lay_out` rewrites a file in it and loses nothing.

Keys stand in the order of the model. Short mappings and lists stand on one line, long lists are wrapped, claims and
whatever has comments inside stand line by line, notes are a block of text. Texts have quotes where YAML needs them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from qkb.records.comments import EDITORS, Comments, find_comments
from qkb.records.faults import Fault, FaultsError
from qkb.records.model import Bits, Claim, Code, Links, RecordFields
from qkb.records.yaml_lines import NULLS, TRUTHS, WHOLE, Parsed, doubt, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import BaseModel

HEADER = f"{EDITORS} $schema=../schema.json"
WIDTH = 110
# An item longer than this makes a list that does not fit one line stand line by line.
LONG_ITEM = 50
# The order of keys, by the path of their mapping without indices.
ORDERS: dict[str, type[BaseModel]] = {
    "": RecordFields,
    "bits": Bits,
    "links": Links,
    "code": Code,
    "claims": Claim,
}
# Lists whose items are laid out line by line even where they are short.
LONG = frozenset(["claims"])
# Texts that always have quotes: they look like numbers to a reader, too.
QUOTED = frozenset(["links.arxiv"])
INDICATORS = frozenset("-?:,[]{}#&*!|>'\"%@`")
# A paragraph in which a line begins like this is no plain prose, and is left as it is.
NO_PROSE = re.compile(r"\s|[-*+>|#=~]|\d+[.)](?:\s|$)|```|:::|\$\$")
BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")
# A word with the code and formulas that it touches.
WORD = re.compile(r"(?:`[^`]*`|\$[^$\s][^$]*\$|[^\s`$]|[`$])+")
ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def lay_out(parsed: Parsed, file: str) -> str:
    """Return the text of a parsed file in the canonical layout; `file` is its name in faults.

    Texts that lack quotes get them; every other fault of the YAML has to be put right first.

    Raises:
        FaultsError: the file cannot be read without fault, or cannot be laid out without loss.
    """
    if parsed.data is None or parsed.faults:
        raise FaultsError(parsed.faults)
    try:
        comments = find_comments(parsed.text)
    except yaml.YAMLError:  # libyaml reads `|#` and the like, which the reader that keeps comments does not
        message = "some readers of YAML refuse this file: put a space before each `#` that begins a comment"
        raise FaultsError([Fault(file, 1, "", message)]) from None
    text = _Layout(comments).file(parsed.data)
    again = parse(text.encode(), file)
    if again.faults or again.doubts or not same(parsed.data, again.data) or _other(comments, text):
        message = "this file cannot be laid out without loss: lay it out by hand, and report this with the file"
        raise FaultsError([Fault(file, 1, "", message)])
    return text


def same(one: object, other: object) -> bool:
    """Tell whether two records' plain data say the same; how notes are broken into lines does not count."""
    return _comparable(one) == _comparable(other)


def _comparable(data: object) -> str:
    if isinstance(data, dict) and isinstance(data.get("notes"), str):
        notes = BLANK_LINES.split(data["notes"].strip())
        data = {**data, "notes": [" ".join(paragraph.split()) for paragraph in notes]}
    return json.dumps(data, sort_keys=True)


def _other(comments: Comments, text: str) -> bool:
    """Tell whether a text has other comments than it should."""
    written = find_comments(text)
    return sorted(" ".join(written.texts()).split()) != sorted(" ".join(comments.texts()).split())


@dataclass(frozen=True)
class _Layout:
    """Writes plain data with comments."""

    comments: Comments

    def file(self, data: dict[str, Any]) -> str:
        lines = [HEADER]
        for key, value in _ordered(data, ""):
            lines += self.above(key, 0)
            lines += self.pair(key, value, key, 0)
        lines += self.comments.after
        return "\n".join(lines) + "\n"

    def above(self, path: str, indent: int) -> list[str]:
        return [" " * indent + comment for comment in self.comments.before.get(path, ())]

    def beside(self, path: str) -> str:
        comment = self.comments.beside.get(path)
        return f"  {comment}" if comment else ""

    def pair(self, key: str, value: object, path: str, indent: int) -> Iterator[str]:
        """Yield the lines of `key: value`."""
        start = f"{' ' * indent}{scalar(key, flow=False)}:"
        beside = self.beside(path)
        if path == "notes" and isinstance(value, str) and value.strip():
            yield f"{start} |{beside}"
            yield from (f"  {line}" if line else "" for line in wrap(value, WIDTH - 2))
        elif not isinstance(value, dict | tuple):
            yield f"{start} {scalar(value, flow=False, quoted=path in QUOTED)}{beside}"
        elif flow := self.flow(value, path, f"{start} "):
            yield from flow[:-1]
            yield flow[-1] + beside
        else:
            yield start + beside
            yield from self.block(value, path, indent + 2)

    def block(self, value: dict[str, Any] | tuple[Any, ...], path: str, indent: int) -> Iterator[str]:
        """Yield the lines of a mapping or list, one or more for each item."""
        if isinstance(value, dict):
            for key, inner in _ordered(value, path):
                here = f"{path}.{key}"
                yield from self.above(here, indent)
                yield from self.pair(key, inner, here, indent)
            return
        for index, item in enumerate(value):
            yield from self.item(item, f"{path}[{index}]", indent)

    def item(self, value: object, path: str, indent: int) -> Iterator[str]:
        """Yield the lines of a list item."""
        start = f"{' ' * indent}- "
        yield from self.above(path, indent)
        if not isinstance(value, dict | tuple):
            yield start + scalar(value, flow=False) + self.beside(path)
        elif flow := self.flow(value, path, start):
            yield from flow[:-1]
            yield flow[-1] + self.beside(path)
        else:
            comment = self.comments.beside.get(path)
            if comment:  # there is no line that is the item's alone
                yield " " * indent + comment
            lines = list(self.block(value, path, indent + 2))
            first = next(index for index, line in enumerate(lines) if not line.lstrip().startswith("#"))
            yield from (line[2:] for line in lines[:first])
            yield start + lines[first].lstrip()
            yield from lines[first + 1 :]

    def flow(self, value: dict[str, Any] | tuple[Any, ...], path: str, start: str) -> list[str]:
        """Return the lines of a mapping or list in brackets; none where it has to stand line by line."""
        if not value:
            return [start + ("{}" if isinstance(value, dict) else "[]")]
        if self.comments.within(path) or path.partition("[")[0] in LONG:
            return []
        if isinstance(value, dict):
            line = start + _braces(value, path)
            return [line] if len(line) <= WIDTH and _is_flat(value.values()) else []
        if not _is_flat(value):
            return []
        items = [scalar(item, flow=True) for item in value]
        line = f"{start}[{', '.join(items)}]"
        if len(line) <= WIDTH:
            return [line]
        return [] if max(map(len, items)) > LONG_ITEM else _wrap_items(items, f"{start}[")


def _ordered(data: dict[str, Any], path: str) -> list[tuple[str, Any]]:
    """Return the pairs of a mapping in the order of its model, then what the model does not know."""
    model = ORDERS.get(path.partition("[")[0])
    known = list(model.model_fields) if model is not None else []
    keys = [key for key in known if key in data] + [key for key in data if key not in known]
    return [(key, data[key]) for key in keys]


def _is_flat(values: Iterable[object]) -> bool:
    return not any(isinstance(value, dict | tuple) for value in values)


def _braces(value: dict[str, Any], path: str) -> str:
    pairs = (
        f"{scalar(key, flow=True)}: {scalar(inner, flow=True, quoted=f'{path}.{key}' in QUOTED)}"
        for key, inner in _ordered(value, path)
    )
    return f"{{{', '.join(pairs)}}}"


def _wrap_items(items: list[str], start: str) -> list[str]:
    """Fill lines with the items of a list; the lines after the first begin below the first item."""
    lines = [start + items[0]]
    for item in items[1:]:
        if len(lines[-1]) + len(item) + 3 <= WIDTH:  # a comma and a space before it, a comma or bracket after it
            lines[-1] += f", {item}"
        else:
            lines[-1] += ","
            lines.append(" " * len(start) + item)
    lines[-1] += "]"
    return lines


def scalar(value: object, *, flow: bool, quoted: bool = False) -> str:
    """Return a text, number or truth value as YAML; texts have quotes only where they need them.

    >>> scalar("2..8", flow=True), scalar("a: b", flow=False), scalar("1.5", flow=False)
    ('2..8', '"a: b"', '"1.5"')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return "null" if value is None else str(value)
    if not quoted and _is_plain(value, flow=flow):
        return value
    if value.isprintable() and ('"' in value or "\\" in value) and "'" not in value:
        return f"'{value}'"
    return f'"{"".join(map(_escape, value))}"'


def _is_plain(text: str, *, flow: bool) -> bool:
    """Tell whether every reader of YAML takes a text without quotes for this very text."""
    if not text or text != text.strip() or not text.isprintable() or text[0] in INDICATORS:
        return False
    if ": " in text or text.endswith(":") or " #" in text or text.startswith(("...", "<<", "=")):
        return False
    if flow and any(mark in text for mark in ",[]{}:?"):  # PyYAML takes a question mark for a key
        return False
    return not (text in NULLS or text in TRUTHS or WHOLE.fullmatch(text) or doubt(text))


def _escape(char: str) -> str:
    if char in ESCAPES:
        return ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def wrap(text: str, width: int) -> list[str]:
    r"""Return the lines of a text: paragraphs of prose are filled, lists and the like are left as they are.

    >>> wrap("One two\nthree.\n\n- an item\n- another", 9)
    ['One two', 'three.', '', '- an item', '- another']
    """
    lines: list[str] = []
    for block in BLANK_LINES.split(text.replace("\r\n", "\n").replace("\r", "\n").strip()):
        if lines:
            lines.append("")
        given = [line.rstrip() for line in block.split("\n")]
        lines += given if any(NO_PROSE.match(line) for line in given) else _fill(block, width)
    return lines


def _fill(block: str, width: int) -> list[str]:
    """Fill lines with the words of a paragraph; code and formulas are not broken, and no line begins like a list."""
    lines = [""]
    for match in WORD.finditer(" ".join(block.split())):
        word = match[0]
        if not lines[-1]:
            lines[-1] = word
        elif len(lines[-1]) + 1 + len(word) <= width or NO_PROSE.match(word):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
