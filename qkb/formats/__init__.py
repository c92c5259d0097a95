"""The formats in which records are written, one module each: `dump(entries) -> str`, nothing but its argument.

A module is imported when its format is asked for, because some of them need libraries that are slow to load.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qkb.entry import Entry

# The format's name on the command line, and what it is.
FORMATS = {
    "table": "aligned columns to read",
    "json": "one JSON array of whole records",
    "jsonl": "one whole record as JSON per line",
    "csv": "one row per record under a header",
    "bibtex": "BibTeX entries",
    "biblatex": "BibLaTeX entries, for biber",
    "csl": "CSL-JSON, for pandoc and reference managers",
    "ris": "RIS, for reference managers",
    "markdown": "a Markdown table",
    "yaml": "the record files themselves, as YAML documents",
    "ids": "one id per line",
}


def dump(entries: Sequence[Entry], name: str) -> str:
    """Return records in a format of `FORMATS`; the text ends with a line feed unless it is empty."""
    return dumper(name)(entries)


def dumper(name: str) -> Callable[[Sequence[Entry]], str]:
    """Return the function that writes a format of `FORMATS`."""
    from importlib import import_module  # noqa: PLC0415

    write: Callable[[Sequence[Entry]], str] = import_module(f"qkb.formats.to_{name}").dump
    return write
