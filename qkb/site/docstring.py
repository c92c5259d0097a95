r"""A method's docstring made readable: prose stays prose, formulas and worked lines become blocks.

Formulas stay in the notation of the docstring, in a block of their own or as inline code.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from qkb.site.markdown import fence, inline, joined

if TYPE_CHECKING:
    from collections.abc import Iterator

_BOLD: Final = Markup("**")
_FORMULA: Final = re.compile(r"\$([^$`\n]+)\$")
_ITEM: Final = re.compile(r"(?:(\d+)[.)]|[-*]) +(.*)", re.DOTALL)
_HEADING: Final = re.compile(r"\*\*([^*\n]+)\*\*[.:]?|(Differences from [^.:;,\n]+):?")
_DISPLAY: Final = re.compile(r"^[ \t]*\$\$(.*?)\$\$[ \t]*$", re.DOTALL | re.MULTILINE)


def split_source(source: str) -> tuple[str, str]:
    """Return a module's docstring, without its indentation, and the code below it.

    A text that does not parse, or has no docstring, comes back whole as code.
    """
    try:
        first = ast.parse(source).body[:1]
    except SyntaxError:
        return "", source
    if not (first and isinstance(first[0], ast.Expr) and isinstance(first[0].value, ast.Constant)):
        return "", source
    text = first[0].value.value
    if not isinstance(text, str):
        return "", source
    rest = source.splitlines(keepends=True)[first[0].end_lineno or 0 :]
    return inspect.cleandoc(text), "".join(rest).lstrip("\n")


def docstring_markdown(text: str) -> Markup:
    """Return a docstring as Markdown.

    A formula between `$$` and a run of indented lines are shown as they stand; `1.` and `-` begin items; a line in
    asterisks, and the one that announces the differences from the paper, is a small heading.
    """
    return joined(_blocks(text), "\n\n")


def _blocks(text: str) -> Iterator[Markup]:
    # The split yields what is between the formulas, and the formulas, in turns.
    for i, part in enumerate(_DISPLAY.split(text)):
        if i % 2:
            yield fence(inspect.cleandoc(part).strip(), "text")
            continue
        for block in re.split(r"\n[ \t]*\n", part):
            for kind, lines in _runs(block.splitlines()):
                yield from _run(kind, lines)


def _runs(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield neighbouring lines of one kind: items with their continuation lines, indented lines, prose."""
    kind, run = "", list[str]()
    for line in filter(str.strip, lines):
        indented = line[:1].isspace()
        if _ITEM.match(line):
            now = "items"
        elif indented:
            now = "items" if kind == "items" else "indented"
        else:
            now = "prose"
        if now != kind and run:
            yield kind, run
            run = []
        kind = now
        run.append(line)
    if run:
        yield kind, run


def _run(kind: str, lines: list[str]) -> Iterator[Markup]:
    if kind == "indented":
        yield fence(textwrap.dedent("\n".join(lines)), "text")
    elif kind == "items":
        yield joined(map(_item, _items(lines)), "\n")
    elif len(lines) == 1 and (match := _HEADING.fullmatch(lines[0])):
        yield _BOLD + inline(match[1] or match[2]) + _BOLD
    else:
        yield _sentence(" ".join(lines))


def _items(lines: list[str]) -> Iterator[str]:
    """Yield list items, each with its continuation lines in one text."""
    item: list[str] = []
    for line in lines:
        if _ITEM.match(line) and item:
            yield " ".join(item)
            item = []
        item.append(line.strip())
    yield " ".join(item)


def _item(item: str) -> Markup:
    match = _ITEM.match(item)
    number, words = (match[1], match[2]) if match else ("", item)
    return Markup(f"{number}. " if number else "- ") + _sentence(words)  # noqa: S704 (a number or a dash)


def _sentence(words: str) -> Markup:
    """Return one paragraph in which `$...$` and backticks are code."""
    return inline(_FORMULA.sub(r"`\1`", words.replace("``", "`")))
