"""Finds the reader of a file: by its name, else by what it begins with."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from qkb.errors import UsageError
from qkb.records.faults import Fault, FaultsError

if TYPE_CHECKING:
    from qkb.imports.work import Reading

FORMATS = {
    "bibtex": "BibTeX and BibLaTeX",
    "csl": "CSL-JSON",
    "ris": "RIS",
    "markdown": "a reading list in Markdown",
}
SUFFIXES = {
    ".bib": "bibtex", ".bibtex": "bibtex", ".json": "csl", ".csl": "csl", ".ris": "ris", ".md": "markdown",
    ".markdown": "markdown", ".mkd": "markdown",
}  # fmt: skip
BEGINNINGS = (
    ("csl", re.compile(r"\A\s*(?:\[\s*(?:\{|\])|\{\s*\")")),
    ("ris", re.compile(r"^TY  ?- ", re.MULTILINE)),
    ("bibtex", re.compile(r"^[ \t]*@[ \t]*[A-Za-z]+\s*[{(]\s*[^\s{},()]+\s*[,=]", re.MULTILINE)),
)
MOST_BYTES = 32 * 1024 * 1024


def read_file(file: str, form: str = "auto") -> Reading:
    """Return what a file, or `-` for standard input, says.

    Raises:
        UsageError: there is no such format.
        FaultsError: the file is no text.
        OSError: it cannot be read.
    """
    if form not in (*FORMATS, "auto"):
        raise UsageError(f"there is no format {form!r} to read; there are {', '.join(FORMATS)}")
    if file == "-":
        source = sys.stdin.buffer.read(MOST_BYTES + 1)
    else:
        with Path(file).open("rb") as stream:
            source = stream.read(MOST_BYTES + 1)
    return read_text(_decoded(source, file), form if form != "auto" else format_of(file, source))


def read_text(text: str, form: str) -> Reading:
    """Return what a text in one of the `FORMATS` says."""
    reading: Reading = import_module(f"qkb.imports.{form}").read(text.replace("\0", ""))
    return reading


def format_of(file: str, source: bytes) -> str:
    """Return the format of a file by its name, else by what it begins with."""
    form = SUFFIXES.get(Path(file).suffix.lower())
    if form is not None:
        return form
    start = source[:4000].decode("utf-8", "replace").removeprefix("\ufeff")
    return next((name for name, pattern in BEGINNINGS if pattern.search(start)), "markdown")


def _decoded(source: bytes, file: str) -> str:
    if len(source) > MOST_BYTES:
        raise FaultsError([Fault(file, 1, "", f"the file is longer than {MOST_BYTES >> 20} MB: split it")])
    encoding = "utf-16" if source.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return source.decode(encoding)
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        raise FaultsError([Fault(file, line, "", "this is no UTF-8: save the file as UTF-8")]) from None
