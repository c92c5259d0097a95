"""Show a record: facts, links, claims beside what was measured, notes.

A record is named by its id, by its title or another name of it, by its arXiv id, DOI or OpenReview id (alone or as an
address), or by the beginning of its id where that is enough to tell it. Exit codes: 0 shown, 2 no such record.

Examples:
  qkb show xnor-net
  qkb show 1603.05279
  qkb show https://doi.org/10.1007/978-3-319-46493-0_32 --format bibtex
  qkb show xnor-net twn --format json
"""

from __future__ import annotations

import json
import re
import textwrap
from typing import TYPE_CHECKING, Any

from qkb.errors import UsageError
from qkb.formats import FORMATS, dump
from qkb.formats.addresses import addresses
from qkb.options import add_common, open_library, terminal_width, write
from qkb.text import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from qkb.entry import Entry
    from qkb.library import Library

WIDEST = 100
LABEL = 16  # columns before the facts
TEXT = "text"
_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")
_NO_PROSE = re.compile(r"\s|[-*+>|#]|\d+[.)]\s|```|\$\$")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="id, its beginning, title, alias, arXiv id or DOI")
    add_common(parser, (TEXT, *FORMATS), TEXT)


def run(library: Library, names: Sequence[str]) -> list[Entry]:
    """Return the records of these names, in their order.

    Raises:
        UsageError: a name stands for no record or for several; the message suggests some.
    """
    return [_only(library, name) for name in names]


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    library = open_library(args)
    entries = run(library, args.names)
    if args.format == TEXT:
        text = "\n".join(describe(library, entry, min(terminal_width(), WIDEST)) for entry in entries)
    else:
        text = dump(entries, args.format)
    write(text, args.output)
    return 0


def describe(library: Library, entry: Entry, width: int = 80) -> str:
    """Return a record to read, its lines not longer than `width` where that can be helped."""
    data = entry.data
    blocks = [
        "\n".join(_filled(entry.title, width)),
        "\n".join(_filled(", ".join(data["authors"]), width)),
        "\n".join(
            f"{label:{LABEL}}{line}" if first else " " * LABEL + line
            for label, text in _facts(library, entry)
            for first, line in _marked(_filled(text, width - LABEL))
        ),
        "Claims\n" + "\n".join(_claims(data["claims"], measured(library, entry.id), width)),
        "Notes\n" + "\n".join(_notes(data["notes"], width)),
    ]
    return printable("\n\n".join(blocks) + "\n")


def measured(library: Library, name: str) -> dict[str, dict[str, Any]]:
    """Return what the accepted result of a record says on its claims, by id; nothing where there is none.

    The file belongs to the implementations; whatever in it is not as expected is left out here and reported by
    `qkb reproduce`.
    """
    from qkb.implementations import CannotRunError, Methods  # noqa: PLC0415

    try:
        text = Methods.of(library.place).result_path(name).read_text(encoding="utf-8")
        claims = json.loads(text)["claims"]
        return {claim["id"]: claim for claim in claims}
    except (CannotRunError, OSError, ValueError, KeyError, TypeError):
        return {}


def _only(library: Library, name: str) -> Entry:
    found = library.lookup(name)
    if not found:
        hint = library.nearest(name) or "qkb list records prints them all."
        raise UsageError(f"there is no record {name!r}. {hint}")
    if len(found) > 1:
        shown = ", ".join(entry.id for entry in found[:8]) + (", ..." if len(found) > 8 else "")
        raise UsageError(f"{name!r} may be any of {shown}; write more of it")
    return found[0]


def _facts(library: Library, entry: Entry) -> Iterator[tuple[str, str]]:
    data = entry.data
    yield "id", entry.id
    venue = entry.venue if entry.venue_name == entry.venue else f"{entry.venue_name} ({entry.venue})"
    yield "venue", f"{venue}, {entry.year}" + (f", pp. {data['pages']}" if data["pages"] else "")
    yield "kind", entry.kind
    yield "tags", ", ".join(entry.tags)
    yield "topics", ", ".join(data["topics"])
    if data["bits"]:
        yield "bits", ", ".join(f"{what} {bits}" for what, bits in data["bits"].items())
    yield from addresses(data["links"]).items()
    for code in data["code"]:
        remarks = [*(["official"] if code["official"] else []), *([code["framework"]] if "framework" in code else [])]
        yield "code", code["url"] + (f" ({', '.join(remarks)})" if remarks else "")
    if data["aliases"]:
        yield "also called", "; ".join(data["aliases"])
    if data["builds_on"]:
        yield "builds on", ", ".join(data["builds_on"])
    built_on = _built_on(library, entry.id)
    if built_on:
        yield "built on by", ", ".join(built_on)
    if data["listed_in"]:
        yield "listed in", ", ".join(data["listed_in"])
    wanted = data["implementation"] == "wanted"
    yield "implementation", "wanted" if wanted else f"reference_impls/{data['implementation']}.py (qkb run {entry.id})"


def _built_on(library: Library, name: str) -> list[str]:
    rows = library.index.rows(
        "SELECT DISTINCT r.id FROM records AS r JOIN contents USING (key), json_each(data, '$.builds_on') AS base"
        " WHERE base.value = ? AND NOT r.shadowed ORDER BY r.year, r.id",
        (name,),
    )
    return [found for (found,) in rows]


def _claims(
    claims: Sequence[Mapping[str, str]], outcomes: Mapping[str, Mapping[str, Any]], width: int
) -> Iterator[str]:
    for claim in claims:
        yield from _filled(f"{claim['id']}: {claim['says']} ({claim['where']})", width, "  ")
        outcome = outcomes.get(claim["id"])
        if outcome is not None:
            yield from _filled(f"measured: {_outcome(outcome)}", width, "    ")


def _outcome(outcome: Mapping[str, Any]) -> str:
    """Return a verdict with its numbers as far as the file gives them."""
    numbers = [outcome.get(key) for key in ("estimate", "low", "high")]
    unit = f" {outcome['unit']}" if outcome.get("unit") else ""
    text = str(outcome.get("verdict", "no verdict"))
    if all(isinstance(number, int | float) for number in numbers):
        figures = (float(number or 0) for number in numbers)
        estimate, low, high = (f"{figure:.0f}" if figure.is_integer() else f"{figure:.4g}" for figure in figures)
        text += f"; {outcome.get('quantity', 'value')}: {estimate}{unit} ({low} to {high})"
        if outcome.get("bound"):
            text += f", claimed {outcome['bound']}"
    return f"{text}. {outcome['remark']}" if outcome.get("remark") else text


def _notes(notes: str, width: int) -> Iterator[str]:
    """Yield the lines of notes: paragraphs of prose filled, lists, code and formulas as they stand."""
    for number, paragraph in enumerate(_BLANK_LINES.split(notes.strip("\n"))):
        if number:
            yield ""
        lines = paragraph.splitlines()
        if any(_NO_PROSE.match(line) for line in lines):
            yield from (f"  {line}" for line in lines)
        else:
            yield from _filled(" ".join(lines), width, "  ")


def _filled(text: str, width: int, indent: str = "") -> list[str]:
    """Return text in lines; what has no space to break at, such as an address, stays whole."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def _marked(lines: list[str]) -> Iterator[tuple[bool, str]]:
    for number, line in enumerate(lines):
        yield number == 0, line
