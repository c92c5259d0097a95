"""What is wrong with a file, and where: the one shape in which every part reports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, order=True, slots=True)
class Fault:
    """One thing that is wrong, at the place where it can be put right.

    Args:
        file: path of the file relative to the library's root, with forward slashes.
        line: line in the file, counted from 1.
        path: dotted path of the value, such as `bits.weights` or `code[1].url`; empty for the whole file.
        message: what is wrong and what to do about it, in one line.
    """

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        parts = [f"{self.file}:{self.line}", self.path, self.message]
        return visible(": ".join(part for part in parts if part))


def visible(text: str) -> str:
    r"""Return text in which no character can steer a terminal or begin a line: names of files can hold any.

    >>> visible("2016/\x1b[31m.yaml")
    '2016/�[31m.yaml'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


class FaultsError(Exception):
    """Raised where work cannot go on because of faults; carries all of them, sorted."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = tuple(sorted(faults))
        super().__init__("\n".join(map(str, self.faults)))
