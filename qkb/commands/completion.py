"""Print a script that completes commands, options, tags, topics, venues, lists and ids in your shell.

The values come from the library that qkb finds when the tab key is pressed, so they are those of your checkout.

Examples:
  qkb completion bash > ~/.local/share/bash-completion/completions/qkb
  qkb completion zsh > ~/.zfunc/_qkb
  qkb completion fish > ~/.config/fish/completions/qkb.fish
  qkb completion tcsh > ~/.qkb.tcsh
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from qkb.filters import HAS, KINDS, SORTS
from qkb.options import write

if TYPE_CHECKING:
    from collections.abc import Iterator

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")
CHOICES = {"--has": HAS, "--kind": KINDS, "--sort": (*SORTS, *(f"-{key}" for key in SORTS))}
ASKED = {"--tag": "tags", "--topic": "topics", "--venue": "venues", "--list": "lists", "--id": "records"}
POSITIONAL = {"names": "records", "id": "records", "ids": "records"}
FOLDERS = {"--root"}
FILES = {"--output", "--figure"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"one of {', '.join(SHELLS)}")
    parser.add_argument("--output", metavar="FILE", help="write to this file (default: standard output)")


def run(shell: str) -> str:
    """Return the completion script for a shell."""
    import shtab  # noqa: PLC0415 (each import of this module is paid by `qkb --help` as well)

    from qkb.cli import whole_parser  # noqa: PLC0415

    parser = whole_parser()
    for action in _actions(parser):
        _teach(action)
    script: str = shtab.complete(parser, shell)
    return script if script.endswith("\n") else script + "\n"


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    write(run(args.shell), args.output)
    return 0


def _teach(action: argparse.Action) -> None:
    """Tell shtab what the values of an argument may be."""
    import shtab  # noqa: PLC0415

    names = {*action.option_strings}
    for name in names & CHOICES.keys():
        action.choices = CHOICES[name]
    asked = next((ASKED[name] for name in names & ASKED.keys()), None) or (
        None if names else POSITIONAL.get(action.dest)
    )
    if asked is not None:
        action.complete = shtab.cmd(f"qkb list {asked} --format ids --quiet 2>/dev/null")  # type: ignore[attr-defined]
    elif names & FOLDERS:
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    elif names & FILES:
        action.complete = shtab.FILE  # type: ignore[attr-defined]


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its commands."""
    for action in parser._actions:  # argparse has no public way to list them; shtab does the same
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
        else:
            yield action
