from __future__ import annotations

from qkb.links.bar import Bar, line
from qkb.links.check import Progress
from qkb.links.outcome import Outcome


class Terminal:
    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


def test_the_bar_counts_and_goes_away() -> None:
    terminal = Terminal()
    bar = Bar(terminal)  # type: ignore[arg-type]
    bar(Progress(0, 3))
    bar(Progress(1, 3, Outcome("a", "dead")))
    bar(Progress(2, 3, Outcome("b", "unknown")))
    bar(Progress(3, 3, Outcome("c", "ok")))
    assert "] 3/3 links, 1 broken, 1 unknown" in terminal.text
    assert terminal.text.count("\r") == 2, "drawn at most ten times a second"
    bar.clear()
    assert terminal.text.endswith(" \r")


def test_nothing_to_do_is_all_done() -> None:
    assert line(0, 0, 0, 0).startswith("[####")
