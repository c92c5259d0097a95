"""Shows a reviewer the records that a pull request changes: `python -m qkb.scaffold.changes FILE...`.

Prints Markdown, made for the summary of a GitHub job: the rows as the survey shows them, then the faults, line by line.
It only reads; what a record says is shown letter by letter. The exit code is 0 whatever is found: the check is
`qkb validate`.
"""

from __future__ import annotations

import html
import re
import sys
from typing import TYPE_CHECKING

from qkb.commands.validate import count
from qkb.paths import locate
from qkb.records.faults import visible
from qkb.records.load import load_all
from qkb.records.text import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qkb.paths import Place
    from qkb.records.model import Record

HEADER = ("Record", "Title", "Authors", "Year", "Venue", "Tags", "Topics", "Bits", "Work", "Method")
RECORD = re.compile(r"papers/\d{4}/[a-z0-9-]+\.ya?ml")
MOST = 200  # rows; a summary has a limit of 1 MB
ADDRESSES = {"arxiv": "https://arxiv.org/abs/{}", "doi": "https://doi.org/{}", "openreview":
             "https://openreview.net/forum?id={}", "url": "{}", "pdf": "{}"}  # fmt: skip


def document(place: Place, files: Iterable[str]) -> str:
    """Return the Markdown about some files of a library; those that are no records have no row."""
    papers = load_all(place)
    named = {file: name for name, file in papers.files.items()}
    changed = dict.fromkeys(files)
    chosen = [file for file in changed if RECORD.fullmatch(file) and file in named]
    # A change of a record may break a list, and a change of the vocabulary any record: those faults stand there.
    faults = [each for each in papers.faults if each.file in changed or each.file.startswith("papers/vocabulary/")]
    rows = [row(file, papers.records.get(named[file])) for file in chosen[:MOST]]
    said = [f"## {count(len(chosen), 'changed record')}, {count(len(faults), 'fault')}", ""]
    if rows:
        said += [_line(HEADER), _line(["---"] * len(HEADER)), *rows, ""]
    if len(chosen) > MOST:
        said += [f"{len(chosen) - MOST} more are not shown.", ""]
    if faults:
        said += ["<pre>", *(_escaped(visible(shorten(str(fault), 400))) for fault in faults[:MOST]), "</pre>", ""]
    return "\n".join(said)


def row(file: str, record: Record | None) -> str:
    """Return the row of a record; of one that has faults of its own, its file alone."""
    if record is None:
        return _line([_code(file), "has faults: see below", *[""] * (len(HEADER) - 2)])
    bits = record.bits.model_dump(exclude_none=True) if record.bits else {}
    links = record.links.model_dump(exclude_none=True)
    return _line(
        [
            _code(file),
            *map(_text, (record.title, ", ".join(record.authors), str(record.year), record.venue)),
            *map(_text, (", ".join(record.tags), ", ".join(record.topics))),
            _text(", ".join(f"{key} {value}" for key, value in bits.items())),
            " ".join(f"[{key}]({_address(ADDRESSES[key].format(value))})" for key, value in links.items()),
            _code(record.implementation),
        ]
    )


def main(files: Sequence[str] | None = None) -> int:
    """Print the Markdown for files that are named by their paths below the root of the library."""
    print(document(locate(), sys.argv[1:] if files is None else files))
    return 0


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    """Return a text that Markdown shows letter by letter, and that calls nobody."""
    return re.sub(r"([\\`*_{}\[\]()+!|~:$-])", lambda match: f"&#{ord(match[1])};", _escaped(shorten(text, 300)))


def _escaped(text: str) -> str:
    return html.escape(text).replace("@", "@\N{ZERO WIDTH SPACE}")


def _code(text: str) -> str:
    return f"<code>{_text(text)}</code>"


def _address(url: str) -> str:
    return re.sub(r"[\s()<>|\\`\[\]\"']", lambda match: f"%{ord(match[0]):02X}", url)


if __name__ == "__main__":
    raise SystemExit(main())
