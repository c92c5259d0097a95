"""Options that read the same in every command, and how data reach standard output or a file."""
# os in place of pathlib: importing pathlib would cost every query 4 ms.
# ruff: noqa: PTH101, PTH105, PTH108, PTH110, PTH113, PTH116, PTH118, PTH123

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from qkb.library import Library


def add_common(parser: argparse.ArgumentParser, formats: Iterable[str], default: str) -> None:
    """Add --format, --output, --root and --quiet."""
    choices = tuple(formats)
    parser.add_argument(
        "--format", choices=choices, default=default, metavar="FORMAT",
        help=f"how to write it: {', '.join(choices)} (default: {default})",
    )  # fmt: skip
    parser.add_argument("--output", metavar="FILE", help="write to this file (default: standard output)")
    add_root(parser)
    parser.add_argument("--quiet", action="store_true", help="print no messages, only data and errors")


def add_root(parser: argparse.ArgumentParser) -> None:
    """Add --root."""
    parser.add_argument("--root", metavar="DIR", help="the library to use (default: found from the current folder)")


def open_library(args: argparse.Namespace) -> Library:
    """Open the library that the options name; say what the user has to know about it on standard error."""
    from qkb.library import Library  # noqa: PLC0415 (this module serves commands that need no library)

    def tell(sentence: str) -> None:
        if not args.quiet:
            print(f"qkb: {sentence}", file=sys.stderr)

    library = Library.open(args.root, notify=tell)
    if library.faulty:
        files = "1 file has" if library.faulty == 1 else f"{library.faulty} files have"
        tell(f"{files} faults and may be missing from the answer; see qkb validate")
    return library


def on_terminal(args: argparse.Namespace) -> bool:
    """Tell whether the data go to a terminal."""
    return args.output is None and sys.stdout.isatty()


def terminal_width() -> int:
    """Return the width of the terminal that help and tables are written to."""
    named = os.environ.get("COLUMNS", "")
    if named.isdigit() and int(named) > 0:
        return int(named)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (AttributeError, OSError, ValueError):  # no terminal, or no file at all
        return 80


def write(text: str, output: str | None) -> None:
    """Write data to standard output or to a file, which is replaced whole or not at all."""
    if output is None:
        sys.stdout.write(text)
        return
    target = os.path.realpath(output)
    if os.path.exists(target) and not os.path.isfile(target):  # a device or a pipe cannot be replaced
        with open(target, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        return
    folder, name = os.path.split(target)
    # The random part: a killed process leaves its file behind, and another one may get its number.
    temporary = os.path.join(folder, f".{name[:80]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "x", encoding="utf-8", newline="") as file:
            file.write(text)
            if os.path.exists(target):
                os.chmod(temporary, os.stat(target).st_mode & 0o7777)
        os.replace(temporary, target)
    except BaseException as error:
        if os.path.exists(temporary):
            os.unlink(temporary)
        if isinstance(error, OSError):
            error.filename, error.filename2 = output, None  # the name that the user knows
        raise
