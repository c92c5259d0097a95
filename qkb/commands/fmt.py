"""Write records in the one canonical layout.

Keys are put in order, lists and notes are wrapped, quotes stand where YAML needs them; comments stay with their keys.
What a record says never changes: that is checked before a file is written, and a file that cannot be read is left as
it is. Vocabulary files are not touched.

The names of the files that changed are printed. With --check nothing is written, and the names are those of the files
that would change. Exit codes: 0 done, 1 a file cannot be read or, with --check, would change, 2 wrong usage.

Examples:
  qkb fmt
  qkb fmt papers/2016/xnor-net.yaml
  qkb fmt --check
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qkb.commands.validate import count, inside, is_chosen
from qkb.options import add_root, write
from qkb.paths import Place, locate
from qkb.records.faults import Fault, FaultsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


@dataclass(frozen=True)
class Outcome:
    """What was done.

    Args:
        changed: the files that changed, or would.
        same: how many files were in the layout already.
        faults: why other files cannot be laid out.
        skipped: paths that were named and lead to no record.
    """

    changed: tuple[str, ...]
    same: int
    faults: tuple[Fault, ...]
    skipped: tuple[str, ...]

    def summary(self, *, check: bool) -> str:
        """Return what was done in one line."""
        done = "would change" if check else "changed"
        broken = len({fault.file for fault in self.faults})
        faulty = f", {broken} with faults left as they are" if broken else ""
        return f"{count(len(self.changed), 'file')} {done}, {self.same} in the layout already{faulty}"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a record or a folder of records (default: all)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file would change")
    add_root(parser)
    parser.add_argument("--quiet", action="store_true", help="print no messages, only names and faults")


def run(place: Place, paths: Sequence[str] = (), *, check: bool = False) -> Outcome:
    """Lay out the records of a library.

    Args:
        place: the library.
        paths: files and folders in it; none for all.
        check: whether to write nothing.

    Raises:
        UsageError: a path does not exist, or is not in the library.
    """
    from qkb.records.layout import lay_out  # noqa: PLC0415 (YAML, pydantic: only when records are read)
    from qkb.records.load import record_files  # noqa: PLC0415
    from qkb.records.yaml_lines import read  # noqa: PLC0415

    chosen = inside(place, paths)
    files = [file for file in record_files(place)[0] if is_chosen(file, chosen)]
    skipped = tuple(path for path in chosen if not any(is_chosen(file, [path]) for file in files))
    changed: list[str] = []
    faults: list[Fault] = []
    same = 0
    for file in files:
        path = place.root / file
        parsed = read(path, file)
        try:
            text = lay_out(parsed, file)
            if text == parsed.text:
                same += 1
                continue
            if not check:
                write(text, str(path))
        except FaultsError as error:
            faults += error.faults
        except OSError as error:
            faults.append(Fault(file, 1, "", f"the file cannot be written: {error.strerror}"))
        else:
            changed.append(file)
    return Outcome(tuple(changed), same, tuple(sorted(faults)), skipped)


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    outcome = run(locate(args.root), args.paths, check=args.check)
    for file in outcome.changed:
        print(file)
    for fault in outcome.faults:
        print(fault, file=sys.stderr)
    if not args.quiet:
        for path in outcome.skipped:
            print(f"qkb fmt: {path} is no record and holds none; it is left as it is", file=sys.stderr)
        print(f"qkb fmt: {outcome.summary(check=args.check)}", file=sys.stderr)
    return 1 if outcome.faults or (args.check and outcome.changed) else 0
