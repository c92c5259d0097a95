"""The command line: starts the command that was asked for, and turns what goes wrong into a message and an exit code.

Only the module of that command is imported, so that a query pays for nothing that other commands need. A command is a
module of `qkb.commands` with a docstring (its manual; the first line is its summary), `configure(parser)` and
`main(args)`. Exit codes: 0 done or found, 1 a fault or nothing found, 2 wrong usage, 130 interrupted.
"""
# os in place of pathlib: importing pathlib would cost every query 4 ms.

from __future__ import annotations

import argparse
import gc
import os
import sys

from qkb import __version__
from qkb.errors import UsageError, nearest
from qkb.options import terminal_width
from qkb.paths import NoLibraryError, locate
from qkb.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn, Protocol

    class Command(Protocol):
        """The module of a command."""

        __doc__: str | None

        @staticmethod
        def configure(parser: argparse.ArgumentParser) -> None:
            """Add the command's arguments."""

        @staticmethod
        def main(args: argparse.Namespace) -> int:
            """Run the command; return its exit code."""


COMMANDS = (
    "query",
    "show",
    "list",
    "stats",
    "validate",
    "fmt",
    "new",
    "links",
    "doctor",
    "import",
    "export",
    "tables",
    "build",
    "serve",
    "run",
    "reproduce",
    "completion",
)
WIDEST = 100  # columns beyond which lines of help are hard to read


class Formatter(argparse.HelpFormatter):
    """Lays out help for the terminal's width: paragraphs are filled, what is indented stands as it is written."""

    def __init__(self, prog: str) -> None:
        # argparse would import shutil to learn the width, 5 ms even where no help is printed.
        super().__init__(prog, max_help_position=26, width=min(terminal_width(), WIDEST) - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.split("\n\n")
        return "\n\n".join(
            paragraph if "\n  " in paragraph else super(Formatter, self)._fill_text(paragraph, width, indent)
            for paragraph in paragraphs
        )


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest option where one was mistyped."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where to read on; exit with 2."""
        start, _, rest = message.partition("unrecognized arguments: ")
        if rest and not start:
            unknown = rest.split()[0]
            hint = nearest(unknown.partition("=")[0], self._option_string_actions)
            message = f"there is no {unknown!r} here. {hint}".rstrip()
        self.exit(2, printable(f"{self.prog}: {message}\nTry '{self.prog} --help'.\n"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code.

    Args:
        argv: the arguments; default: those of the process.
    """
    words = [*(sys.argv[1:] if argv is None else argv)]
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        if argv is None:
            gc.freeze()  # the process ends here: its collector need not go through everything once more
    except SystemExit as stop:  # argparse has printed help or an error
        return stop.code if isinstance(stop.code, int) else 0
    except BrokenPipeError:
        # Whoever read has seen enough. Nothing may be written when Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("qkb: interrupted", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001 (what is no message is raised again)
        return _explain(error, words)
    return code


def parser_of(name: str) -> Parser:
    """Return the parser of a command."""
    module = command(name)
    manual, _, examples = (module.__doc__ or "").partition("\nExamples:\n")
    parser = Parser(
        prog=f"qkb {name}",
        description=manual.strip(),
        epilog=f"Examples:\n{examples.rstrip()}" if examples else None,
        formatter_class=Formatter,
        allow_abbrev=False,
    )
    module.configure(parser)
    return parser


def whole_parser() -> Parser:
    """Return the parser of everything, for completion: it imports every command."""
    parser = Parser(prog="qkb", description=__doc__, formatter_class=Formatter, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"qkb {__version__}", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for name in COMMANDS:
        command(name).configure(commands.add_parser(name, help=summary(name), allow_abbrev=False))
    return parser


def command(name: str) -> Command:
    """Import the module of a command."""
    from importlib import import_module  # noqa: PLC0415

    module: Command = import_module(f"qkb.commands.{_module(name)}")  # type: ignore[assignment]
    return module


def summary(name: str) -> str:
    """Return the first line of a command's manual without importing the command, which may take long."""
    from pkgutil import get_data  # noqa: PLC0415

    source = get_data("qkb.commands", f"{_module(name)}.py") or b""
    return source.decode().partition('"""')[2].partition("\n")[0].removesuffix('"""')


def _module(name: str) -> str:
    """Return the module of a command: its name, unless Python keeps that for itself."""
    return "import_" if name == "import" else name


def _dispatch(words: list[str]) -> int:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # no encoding makes a query fail
    if not words:
        return _overview()
    first, rest = words[0], words[1:]
    if first in {"-h", "--help", "help"}:
        if rest and first == "help" and rest[0] in COMMANDS:
            parser_of(rest[0]).print_help()
        else:
            sys.stdout.write(_help())
        return 0
    if first in {"-V", "--version"}:
        print(f"qkb {__version__}")
        return 0
    if first.startswith("-"):
        raise UsageError(f"{first} stands before the command; write qkb COMMAND [OPTION...], or qkb --help")
    if first not in COMMANDS:
        hint = nearest(first, COMMANDS) or "qkb --help lists them all."
        raise UsageError(f"there is no command {first!r}. {hint}")
    arguments = parser_of(first).parse_args(_joined(rest))
    return command(first).main(arguments)


def _joined(words: list[str]) -> list[str]:
    """Join what argparse would take for an option to the option it belongs to: `--sort -year`."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "--sort" and word.startswith("-") and not word.startswith("--"):
            joined[-1] = f"--sort={word}"
        else:
            joined.append(word)
    return joined


def _overview() -> int:
    """Print the help, and where there are no records, what to do about it."""
    sys.stdout.write(_help())
    locate()
    return 0


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{width}}{summary(name)}\n" for name in COMMANDS]
    return (
        "usage: qkb COMMAND [OPTION...]\n\n"
        "The executable survey of neural-network quantization: search, check, render and run its records.\n\n"
        f"Commands:\n{''.join(lines)}\n"
        "Options:\n"
        "  -h, --help     print this; qkb COMMAND --help prints the manual of a command\n"
        "  -V, --version  print the version\n\n"
        "The records are found in the current folder or above it, else in the installed copy; every command takes\n"
        "--root DIR to name another place.\n"
    )


def _explain(error: Exception, words: list[str]) -> int:
    """Print the message of an error that has one and return the exit code; raise the error again otherwise."""
    from qkb.records.faults import FaultsError  # noqa: PLC0415 (dataclasses: only where something went wrong)

    name = f"qkb {words[0]}" if words and words[0] in COMMANDS else "qkb"
    if isinstance(error, FaultsError):
        print(error, file=sys.stderr)
        return 1
    if isinstance(error, UnicodeEncodeError):  # of an argument: no file of ours and no index holds such text
        print(f"{name}: {error.object!r} is no valid text", file=sys.stderr)
        return 2
    if isinstance(error, UsageError | NoLibraryError):
        print(printable(f"{name}: {error}"), file=sys.stderr)
        return 2
    if isinstance(error, ModuleNotFoundError) and error.name is not None and not error.name.startswith("qkb"):
        print(f"{name}: the package {error.name} is missing: install qkb again, with its dependencies", file=sys.stderr)
        return 1
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename is not None else ""
        print(printable(f"{name}: {error.strerror or error}{where}"), file=sys.stderr)
        return 1
    raise error
