"""The reference of the command line, `site/pages/cli.md`, made from the manuals and the parsers.

`python -m qkb.reference` writes the page; with `--check` it fails where the page is not what the code says.
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING

from qkb.cli import COMMANDS, parser_of
from qkb.options import write
from qkb.paths import locate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGE = "pages/cli.md"
HEAD = """\
# Command line

<!-- Made by `python -m qkb.reference`; change the manuals in `qkb/commands`, not this page. -->

`qkb COMMAND --help` prints the manual of a command. The records are found in the current folder or above it, else in
the installed copy. Only data go to standard output; messages go to standard error. Exit codes: 0 done or found, 1 a
fault or nothing found, 2 wrong usage.

"""


def page() -> str:
    """Return the text of the page."""
    table = "".join(f"| [`qkb {name}`](#qkb-{name}) | {_cell(_summary(parser_of(name)))} |\n" for name in COMMANDS)
    return HEAD + "| Command | What it does |\n| --- | --- |\n" + table + "".join(map(section, COMMANDS))


def section(name: str) -> str:
    """Return the part of the page on one command."""
    parser = parser_of(name)
    arguments = [action for action in parser._actions if action.help is not argparse.SUPPRESS]
    rows = "".join(f"| {_names(action)} | {_cell(action.help or '')} |\n" for action in arguments)
    usage = " ".join(_usage(name, arguments))
    examples = (parser.epilog or "").partition("\n")[2]
    shown = "\n".join(line.removeprefix("  ") for line in examples.splitlines())
    return (
        f"\n## qkb {name}\n\n{_markdown(parser.description or '')}\n\n"
        f"```text\n{usage}\n```\n\n"
        f"| Argument | Meaning |\n| --- | --- |\n{rows}" + (f"\n```sh\n{shown}\n```\n" if shown else "")
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page, or compare it; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m qkb.reference", description="Make the command line's reference.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the page differs")
    parser.add_argument("--root", metavar="DIR", help="the checkout (default: found from the current folder)")
    args = parser.parse_args(argv)
    target = locate(args.root).site / PAGE
    new = page()
    if args.check:
        if target.is_file() and target.read_text(encoding="utf-8") == new:
            return 0
        print(f"{target}: differs from the code; run python -m qkb.reference", file=sys.stderr)
        return 1
    write(new, str(target))
    return 0


def _summary(parser: argparse.ArgumentParser) -> str:
    return (parser.description or "").partition("\n")[0]


def _usage(name: str, arguments: Sequence[argparse.Action]) -> Iterator[str]:
    yield f"qkb {name}"
    if any(action.option_strings for action in arguments):
        yield "[OPTION...]"
    for action in arguments:
        if not action.option_strings:
            shown = str(action.metavar or action.dest)
            yield {"*": f"[{shown}...]", "+": f"{shown}...", "?": f"[{shown}]"}.get(str(action.nargs), shown)


def _names(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return ", ".join(f"`{option}{value}`" for option in action.option_strings)


def _cell(text: str) -> str:
    return _markdown(text).replace("|", r"\|")


def _markdown(text: str) -> str:
    r"""Return manual text as Markdown: what Markdown would act on is escaped, except in code.

    >>> _markdown("a start*, `a*b` and LIST_SECTION <x>")
    'a start\\*, `a*b` and LIST\\_SECTION \\<x>'
    """
    parts = re.split(r"(`[^`\n]+`)", text)
    return "".join(part if place % 2 else re.sub(r"([*_<\[])", r"\\\1", part) for place, part in enumerate(parts))


if __name__ == "__main__":
    sys.exit(main())
