"""Real data small enough for a second: 8x8 digits and a page of English text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Training and test examples: inputs `x` and class labels `y`."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


@cache
def digits() -> Split:
    """Return the 8x8 handwritten digits of the UCI repository, as scikit-learn ships them.

    Inputs have shape (n, 1, 8, 8) and lie in [-1, 1]; labels are 0 to 9. The split is fixed: 1,200 training and
    597 test images.
    """
    bunch = load_digits()
    x = torch.tensor(bunch.data, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8 - 1
    y = torch.tensor(bunch.target, dtype=torch.int64)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    return Split(x[:1200], y[:1200], x[1200:], y[1200:])


@dataclass(frozen=True)
class Text:
    """A text as integers into its alphabet, split into a training part and the test part that follows it."""

    alphabet: str
    train: Tensor
    test: Tensor


@cache
def text() -> Text:
    """Return the character text: the start of Genesis in the King James version (public domain).

    Characters are lower-case letters, space, newline and a little punctuation, as int64 indices into
    `alphabet`; the last fifth is the test part.
    """
    raw = (Path(__file__).parent / "genesis.txt").read_text(encoding="ascii")
    alphabet = "".join(sorted(set(raw)))
    codes = torch.tensor([alphabet.index(c) for c in raw], dtype=torch.int64)
    cut = len(codes) * 4 // 5
    return Text(alphabet, codes[:cut], codes[cut:])


def windows(codes: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Cut a text into windows for next-character prediction.

    Args:
        codes: character indices, shape (n,).
        length: characters per window.

    Returns:
        inputs and targets, both of shape ((n - 1) // length, length), targets one character ahead.

    Raises:
        ValueError: if the text is shorter than one window and its target.
    """
    count = (len(codes) - 1) // length
    if count < 1:
        raise ValueError(f"a text of {len(codes)} characters holds no window of {length}")
    used = count * length
    return codes[:used].reshape(count, length), codes[1 : used + 1].reshape(count, length)
