from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reference_impls.kit.catalogue import HOME, load, names, result_path

if TYPE_CHECKING:
    from pathlib import Path


def test_names_are_the_method_files(tmp_path: Path) -> None:
    for file in ("binary/b.py", "binary/__init__.py", "ternary/a.py", "kit/ste.py", "fpga/mvu.py", "results/x.json"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert names(tmp_path) == ["binary/b", "ternary/a"]
    assert names(tmp_path / "nowhere") == []


def test_every_name_loads() -> None:
    for name in names():
        assert load(name).RECORD


def test_an_unknown_name_is_refused_before_anything_is_imported() -> None:
    with pytest.raises(LookupError, match="no implementation 'kit/ste'"):
        load("kit/ste")


def test_result_path() -> None:
    assert result_path("twn") == HOME / "results" / "twn.json"
