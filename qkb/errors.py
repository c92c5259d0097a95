"""What a user can get wrong when asking: one exception, and the nearest known word for a mistyped one."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would cost every query 4 ms
if TYPE_CHECKING:
    from collections.abc import Iterable


class UsageError(Exception):
    """A request that cannot be understood; the message says what to write instead. The command line exits with 2."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a sentence that suggests the known words most like `word`, or an empty string.

    >>> nearest("bn", ["bnn", "qnn", "hardware"])
    "Did you mean 'bnn'?"
    >>> nearest("--tags", ["--tag", "--topic"])
    "Did you mean '--tag'?"
    >>> nearest("zebra", ["bnn", "qnn"])
    ''
    """
    import difflib  # noqa: PLC0415 (only for messages; nothing else should pay for it)

    asked = word.lstrip("-").casefold()
    by_folded = {name.lstrip("-").casefold(): name for name in known}
    close = difflib.get_close_matches(asked, by_folded, n=3, cutoff=0.6)
    likeness = [difflib.SequenceMatcher(None, name, asked).ratio() for name in close]
    best = [repr(by_folded[name]) for name, like in zip(close, likeness, strict=True) if like > likeness[0] - 0.1]
    return f"Did you mean {' or '.join(best)}?" if best else ""
