from __future__ import annotations

from reference_impls.kit.claims import Difference, Exact


def test_quantities_read_as_sentences() -> None:
    assert Difference("c", "ours", "theirs").quantity == "ours - theirs"
    assert Exact("c", "count", "<=", 58.0).quantity == "count <= 58.0"
    assert Exact("c", "count", "==", "oracle").quantity == "count == oracle"
