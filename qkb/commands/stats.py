"""Count the records by year, tag, topic, venue, kind, bit-widths and implementation.

A record with several tags or topics counts once for each. An implementation is `measured` where its results have been
accepted, `present` where they have not, and `wanted` where there is none. Bit-widths are written as for qkb query; `-`
stands for records that name none.

Examples:
  qkb stats
  qkb stats --by tag --by year
  qkb stats --format json
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from qkb.formats import to_table
from qkb.options import add_common, open_library, write

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from qkb.library import Library

_COUNT = "SELECT {0}, count(*) FROM records WHERE NOT shadowed GROUP BY {0} ORDER BY {1}"
_COUNT_LABELS = (
    "SELECT value, count(*) FROM labels JOIN records USING (key) WHERE what = '{}' AND NOT shadowed"
    " GROUP BY value ORDER BY count(*) DESC, value"
)
QUESTIONS = {
    "year": _COUNT.format("year", "year"),
    "tag": _COUNT_LABELS.format("tag"),
    "topic": _COUNT_LABELS.format("topic"),
    "venue": _COUNT.format("venue", "count(*) DESC, venue"),
    "kind": _COUNT.format("kind", "count(*) DESC, kind"),
    "bits": _COUNT.format("bits", "count(*) DESC, bits"),
}
STATES = ("measured", "present", "wanted")
BY = (*QUESTIONS, "implementation")
BAR = 30  # columns of the longest bar


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--by", action="append", choices=BY, metavar="WHAT",
        help=f"count by this only; may be repeated: {', '.join(BY)} (default: all)",
    )  # fmt: skip
    add_common(parser, ("text", "json"), "text")


def run(library: Library, by: Iterable[str] = BY) -> dict[str, dict[str, int]]:
    """Return the number of records for each value of what they are counted by.

    Args:
        library: the library.
        by: names of `BY`.
    """
    counts = {}
    for what in by:
        if what in QUESTIONS:
            counts[what] = {str(value) or "-": count for value, count in library.index.rows(QUESTIONS[what])}
        else:
            counts[what] = _implementations(library)
    return counts


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    library = open_library(args)
    counts = run(library, args.by or BY)
    total = library.index.rows("SELECT count(*) FROM records WHERE NOT shadowed")[0][0]
    if args.format == "json":
        write(json.dumps({"records": total, **counts}, ensure_ascii=False, indent=2) + "\n", args.output)
    else:
        write(describe(counts, total), args.output)
    return 0


def describe(counts: dict[str, dict[str, int]], total: int) -> str:
    """Return counts to read, with bars."""
    blocks = [f"{total} record{'s' * (total != 1)}\n"]
    for what, found in counts.items():
        most = max([*found.values(), 1])
        rows = [(f"  {value}", f"{count:>5}", "█" * round(BAR * count / most)) for value, count in found.items()]
        blocks.append(f"by {what}\n{to_table.align(rows, (), None)}")
    return "\n".join(blocks)


def _implementations(library: Library) -> dict[str, int]:
    from qkb.implementations import CannotRunError, Methods  # noqa: PLC0415

    try:
        results = Methods.of(library.place).home / "results"
        measured = {path.stem for path in results.iterdir() if path.suffix == ".json"}
    except (CannotRunError, OSError):
        measured = set()
    counts = dict.fromkeys(STATES, 0)
    for name, implementation in library.index.rows("SELECT id, implementation FROM records WHERE NOT shadowed"):
        state = "wanted" if implementation == "wanted" else "measured" if name in measured else "present"
        counts[state] += 1
    return counts
