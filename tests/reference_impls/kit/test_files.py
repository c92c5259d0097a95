from __future__ import annotations

from pathlib import Path

import pytest

from reference_impls.kit.files import write_whole


@pytest.mark.parametrize(("content", "bytes_"), [("ü\n", b"\xc3\xbc\n"), (b"\x00\xff", b"\x00\xff")])
def test_text_and_bytes_are_written_whole(content: str | bytes, bytes_: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_whole(path, "old")
    write_whole(path, content)
    assert path.read_bytes() == bytes_
    assert [file.name for file in path.parent.iterdir()] == ["file.json"]


def test_what_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    write_whole(path, "old")

    def full(*_: object) -> None:
        raise OSError("disk is full")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk is full"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file.json"]
