from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qkb.paths import Place
from qkb.records.load import load_all

if TYPE_CHECKING:
    from types import ModuleType

SOURCE = Path(__file__).resolve().parents[2] / "benchmarks" / "query.py"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_query", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_the_records_are_valid_and_the_same_each_time(benchmark: ModuleType, tmp_path: Path) -> None:
    benchmark.generate(tmp_path / "one", 40)
    benchmark.generate(tmp_path / "two", 40)
    papers = load_all(Place(tmp_path / "one"))
    assert papers.faults == ()
    assert len(papers.records) == 40
    assert papers.records == load_all(Place(tmp_path / "two")).records
    lengths = [len(record.notes) for record in papers.records.values()]
    assert 800 < sum(lengths) / len(lengths) < 1500
