from __future__ import annotations

import pytest
import torch

from reference_impls.kit.data import digits, text, windows


def test_digits_are_the_real_ones_in_range_and_split_once() -> None:
    split = digits()
    assert split.train_x.shape == (1200, 1, 8, 8)
    assert split.test_x.shape == (597, 1, 8, 8)
    everything = torch.cat([split.train_x, split.test_x])
    assert everything.min() == -1
    assert everything.max() == 1
    counts = torch.bincount(torch.cat([split.train_y, split.test_y]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as the data set's description says
    assert digits() is split


def test_the_split_mixes_all_classes() -> None:
    assert torch.bincount(digits().test_y).min() > 40


def test_text_is_lower_case_english_over_a_small_alphabet() -> None:
    corpus = text()
    assert len(corpus.alphabet) < 40
    start = "".join(corpus.alphabet[i] for i in corpus.train[:40].tolist())
    assert start == "in the beginning god created the heaven "
    total = len(corpus.train) + len(corpus.test)
    assert len(corpus.train) == total * 4 // 5
    assert total > 19000


def test_windows_predict_the_next_character() -> None:
    inputs, targets = windows(torch.arange(10), 4)
    assert inputs.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert targets.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    with pytest.raises(ValueError, match="no window of 10"):
        windows(torch.arange(10), 10)
