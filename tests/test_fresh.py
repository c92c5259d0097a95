from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from qkb.fresh import create

if TYPE_CHECKING:
    from pathlib import Path


def refuse(*_: object) -> None:
    """Stand in for a system without hard links."""
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool) -> None:
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / ("x" * 200)
    assert create(target, b"one")
    assert not create(target, b"two")
    assert target.read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_nothing_is_left_where_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        create(tmp_path / "a", b"one")
    assert list(tmp_path.iterdir()) == []
