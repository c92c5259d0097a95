from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from reference_impls.kit.claims import Difference
from reference_impls.kit.runner import main, paper_says

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> str:
    module = ModuleType("made_up_method", "Made-up (Nobody 2026): a method that is not one.\n\nMore.")
    vars(module).update(
        RECORD="made-up",
        SEEDS=(0, 1, 2),
        CLAIMS=(Difference("gain", "new", "old"),),
        QUANTIZERS=(),
        reproduce=lambda seed: {"new": 2.0 + seed, "old": 1.0},
    )
    monkeypatch.setitem(sys.modules, "made_up_method", module)
    return "made_up_method"


def test_prints_tables(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(method, []) == 0
    out = capsys.readouterr().out
    assert "we measured" in out
    assert "new - old = 2" in out


def test_prints_json_of_chosen_seeds(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(method, ["--json", "--seed", "5"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == {"new": [7.0], "old": [1.0]}


def test_help_is_the_first_line_of_the_docstring(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(method, ["--help"])
    assert "Made-up (Nobody 2026): a method that is not one." in capsys.readouterr().out


def test_paper_says_reads_the_record_beside_the_methods(tmp_path: Path) -> None:
    (tmp_path / "2016").mkdir()
    (tmp_path / "2016" / "x.yaml").write_text("claims:\n  - {id: a, says: it works, where: abstract}\n")
    assert paper_says("x", tmp_path) == {"a": "it works"}
    assert paper_says("y", tmp_path) == {}
