"""A safe, strict YAML reader that knows the line of every value and explains every fault.

The YAML of a record is a small part of YAML: mappings with text keys, lists, texts, whole numbers, `true`, `false`.
Everything else that the language offers (anchors, aliases, tags, merge keys, several documents) is refused, because
files come from strangers and because readers of YAML disagree on what it says. Nothing raises: whatever is wrong
with a file is a fault.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from qkb.records.faults import Fault
from qkb.records.text import MAX_BYTES, UNSEEN, shorten, wrong_text
from qkb.records.yaml_errors import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_DEPTH = 10
# With more of OPENERS than this, the depth is checked before anything recurses over the file.
MAX_OPENERS = 1000

# Plain texts that YAML 1.1 or 1.2 reads as something other than text.
NULLS = frozenset(["", "~", "null", "Null", "NULL"])
TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
WORDS = frozenset(form for word in ("yes", "no", "on", "off", "y", "n") for form in (word, word.title(), word.upper()))
# First characters of the plain texts that may not be text.
SPECIAL = frozenset("-+.0123456789~nNtTfFyYoO<=")
WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
NUMBER_LIKE = re.compile(
    r"""[-+]?(?:
        [0-9][0-9_]*                                        # 007, 1_000, very long ones
      | 0[xob][0-9a-fA-F_]+                                 # other bases
      | (?:[0-9][0-9_]*)?\.[0-9_]*(?:[eE][-+]?[0-9]+)?      # 1.5, 1., .5, 1.5e3
      | [0-9][0-9_]*[eE][-+]?[0-9]+                         # 1e3
      | [0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?         # base 60
      | \.(?:inf|Inf|INF)
    ) | \.(?:nan|NaN|NAN)""",
    re.VERBOSE,
)
DATE_LIKE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9].*)?")

# Where an anchor, an alias or a tag may stand.
SUSPECT = re.compile(r"(?:^|[\s\[\]{},:])(?:[&*](?=\S)|!)")
# Each level of nesting takes one of these characters at least.
OPENERS = "[{-?:"


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a file says.

    Args:
        data: dicts, tuples, texts, whole numbers, booleans and None; None where the file cannot be read at all.
        faults: what is wrong with it as YAML.
        doubts: texts without quotes that other readers take for numbers, dates or truth values; faults, too, but
            quotes mend them, and `data` holds the very text.
        lines: dotted path of each key and each list item -> line, counted from 1.
        text: the text of the file.
    """

    data: dict[str, Any] | None
    faults: tuple[Fault, ...] = ()
    doubts: tuple[Fault, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)
    text: str = ""


class Loader(Protocol):
    """What this module needs of PyYAML."""

    def get_event(self) -> Any:
        """Return the next event; None after the last."""

    def get_single_node(self) -> Node | None:
        """Return the document's node; None where there is none."""


class _Plain:
    """Leaves every scalar a text, so that this module alone decides what a plain text means."""

    def descend_resolver(self, current_node: object, current_index: object) -> None:
        pass

    def ascend_resolver(self) -> None:
        pass

    def resolve(self, kind: object, value: object, implicit: object) -> str:  # noqa: ARG002 (PyYAML's interface)
        return ""


class _PureLoader(_Plain, Reader, Scanner, Parser, Composer):
    """PyYAML's own reader, for machines without libyaml; about ten times slower."""

    def __init__(self, source: bytes) -> None:
        Reader.__init__(self, source)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)


_FastLoader: Callable[[bytes], Loader] = _PureLoader
if yaml.__with_libyaml__:
    from yaml._yaml import CParser

    class _LibyamlLoader(_Plain, CParser):
        """The reader that libyaml makes fast."""

    _FastLoader = _LibyamlLoader


def line_of(lines: Mapping[str, int], path: str) -> int:
    """Return the line of a dotted path, or of the nearest part of it that the file has."""
    while path:
        if path in lines:
            return lines[path]
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return 1


def read(path: str | os.PathLike[str], file: str, *, pure: bool = False) -> Parsed:
    """Read and parse a file; `file` is its name in faults, `pure` does without libyaml."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):  # a link could lead anywhere, a pipe would never end
            message = "this is a link or something else that is no plain file: put a plain file here"
            return _unreadable(file, [(1, message)])
        with open(path, "rb") as stream:  # noqa: PTH123 (a Path per file would take as long as reading it)
            source = stream.read(MAX_BYTES + 1)
    except OSError as error:
        return _unreadable(file, [(1, f"the file cannot be read: {error.strerror}")])
    return parse(source, file, pure=pure)


def parse(source: bytes, file: str, *, pure: bool = False) -> Parsed:
    """Parse the bytes of a file; `file` is its name in faults, `pure` does without libyaml."""
    wrong = wrong_text(source)
    if wrong:
        return _unreadable(file, wrong)
    loader = _PureLoader if pure else _FastLoader
    text = source.decode()
    try:
        if _needs_care(text):
            wrong = _refused(loader(source))
        root = None if wrong else loader(source).get_single_node()
    except yaml.YAMLError as error:
        wrong = [explain(error, text)]
    except (RecursionError, ValueError, OverflowError):  # how the pure reader gives up on a wrong escape
        wrong = [(1, "not valid YAML: it is nested too deeply, or has a wrong escape sequence")]
    else:
        if root is None:
            wrong = wrong or [(1, "the file is empty: it must hold `key: value` lines")]
        elif not isinstance(root, MappingNode):
            wrong = [(_line(root), "the file must be a mapping of `key: value` lines, not a list or a text")]
        else:
            walker = _Walker(file)
            data = walker.mapping(root, "", 0)
            return Parsed(data, tuple(walker.faults), tuple(walker.doubts), walker.lines, text)
    return _unreadable(file, wrong)


def compose(source: bytes) -> MappingNode:
    """Return the nodes of a file that `parse` reads without fault; they know where they begin."""
    root = _FastLoader(source).get_single_node()
    if not isinstance(root, MappingNode):
        raise TypeError("only a file that can be parsed has nodes")
    return root


def _unreadable(file: str, wrong: list[tuple[int, str]]) -> Parsed:
    return Parsed(None, tuple(Fault(file, line, "", message) for line, message in wrong))


def _line(what: Node | yaml.Event) -> int:
    mark = what.start_mark
    return 1 if mark is None else mark.line + 1


def _needs_care(text: str) -> bool:
    """Tell whether a text may have an anchor, an alias, a tag, or be nested so deeply that recursion is a danger."""
    marked = ("&" in text or "*" in text or "!" in text) and SUSPECT.search(text)
    return bool(marked) or sum(map(text.count, OPENERS)) > MAX_OPENERS


def _refused(loader: Loader) -> list[tuple[int, str]]:
    """Find the first anchor, alias, tag or too deep nesting, without recursion and without expanding anything."""
    depth = 0
    message = ""
    while (event := loader.get_event()) is not None:
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if isinstance(event, yaml.AliasEvent):
            message = (
                f"aliases such as `*{shorten(str(anchor))}` are not used here: write the value out, or quote the text"
            )
        elif anchor is not None:
            message = f"anchors such as `&{shorten(str(anchor))}` are not used here: remove it, or quote the text"
        elif tag is not None:
            message = f"tags such as `{shorten(str(tag))}` are not used here: remove it, or quote the text"
        elif depth > MAX_DEPTH:
            message = f"nested more than {MAX_DEPTH} levels deep: check brackets and indentation"
        if message:
            return [(_line(event), message)]
    return []


class _Walker:
    """Turns nodes into plain data; collects lines and faults on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.faults: list[Fault] = []
        self.doubts: list[Fault] = []
        self.lines: dict[str, int] = {}

    def fault(self, node: Node, path: str, message: str) -> None:
        self.faults.append(Fault(self.file, _line(node), path, message))

    def mapping(self, node: MappingNode, path: str, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.key(key_node, path)
            if key is None:
                continue
            here = sys.intern(f"{path}.{key}" if path else key)
            if key in data:
                self.fault(key_node, here, f"the key stands here again, first in line {self.lines[here]}: keep one")
                continue
            self.lines[here] = _line(key_node)
            data[key] = self.value(value_node, here, depth + 1)
        return data

    def key(self, node: Node, path: str) -> str | None:
        """Return the text of a key; None, after a fault, where it is none."""
        if not isinstance(node, ScalarNode):
            self.fault(node, path, "a key must be one word, not a list or a mapping")
        elif not node.value:
            self.fault(node, path, "a key is missing before the `:`")
        elif node.value == "<<" and not node.style:
            self.fault(node, path, "merge keys `<<` are not used here: write the keys out")
        elif not node.value.isprintable():
            self.fault(node, path, f"the key `{shorten(node.value)}` has characters that cannot be seen: remove them")
        else:
            return str(node.value)
        return None

    def value(self, node: Node, path: str, depth: int) -> Any:
        if isinstance(node, ScalarNode):
            text = node.value
            if node.style == '"' and not text.isprintable():  # escapes can say what the file's own text cannot
                self.unseen(node, path)
            # A style is a pair of quotes or a block: always text.
            if node.style or (text and text[0] not in SPECIAL):
                return text
            return self.plain(node, path)
        if depth >= MAX_DEPTH:
            self.fault(node, path, f"nested more than {MAX_DEPTH} levels deep: check brackets and indentation")
            return None
        if isinstance(node, MappingNode):
            return self.mapping(node, path, depth)
        return self.sequence(node, path, depth)

    def sequence(self, node: Node, path: str, depth: int) -> tuple[Any, ...]:
        items = []
        for index, item in enumerate(node.value):
            here = sys.intern(f"{path}[{index}]")
            self.lines[here] = _line(item)
            items.append(self.value(item, here, depth + 1))
        return tuple(items)

    def unseen(self, node: ScalarNode, path: str) -> None:
        match = UNSEEN.search(node.value)
        if match:
            self.fault(node, path, f"character U+{ord(match[0]):04X} cannot be seen: remove its escape")

    def plain(self, node: ScalarNode, path: str) -> bool | int | str | None:
        """Return what an unquoted text means; it stays a text, with a fault, where readers would disagree."""
        text: str = node.value
        if text in TRUTHS:
            return TRUTHS[text]
        if text in NULLS:
            self.fault(node, path, "there is no value: write one, or remove the key")
            return None
        if WHOLE.fullmatch(text) and text != "-0":
            return int(text)
        message = doubt(text)
        if message:
            self.doubts.append(Fault(self.file, _line(node), path, message))
        return text


def doubt(text: str) -> str:
    """Say what else than text some readers take an unquoted text for; nothing where it is clear.

    >>> doubt("1603.05279"), doubt("2..8")
    ('`1603.05279` is read as a number: put it in quotes, "1603.05279"', '')
    """
    if text in WORDS:
        return f"`{text}` is true or false to some readers: put it in quotes"
    if text == "=":
        return "`=` has a meaning of its own: put it in quotes"
    for pattern, kind in ((NUMBER_LIKE, "number"), (DATE_LIKE, "date")):
        if pattern.fullmatch(text):
            return f'`{shorten(text)}` is read as a {kind}: put it in quotes, "{shorten(text)}"'
    return ""
