from __future__ import annotations

from typing import TYPE_CHECKING

from qkb.scaffold import steps

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

FILE = "papers/2018/fabnet.yaml"


def test_a_step_for_each_key_that_is_missing() -> None:
    told = steps.of_record("fabnet", FILE, ("topics", "notes"), ("arXiv", "Crossref"), reached=True)
    assert told[0] == f"{FILE}: compare what stands there with the paper; it is from arXiv and Crossref"
    assert [step.split(": ")[1] for step in told[1:3]] == ["write topics", "write notes"]
    assert "qkb validate" in told[-1]


def test_without_registries() -> None:
    assert "no registry could be asked" in steps.of_record("fabnet", FILE, (), (), reached=False)[0]
    assert steps.of_record("fabnet", FILE, (), ("DBLP",), reached=True)[0].endswith("it is from DBLP")


def test_methods(library: LibraryMaker) -> None:
    told = steps.of_method("fabnet", "binary", "fab_net")
    assert told[0].startswith("reference_impls/binary/fab_net.py: ")
    assert "qkb reproduce fabnet --accept" in told[-1]
    assert steps.without_method("fabnet", library.place, asked=False) == ()
    assert "qkb new fabnet --family FAMILY" in steps.without_method("fabnet", library.place, asked=True)[0]
