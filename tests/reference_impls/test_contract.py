"""What every implementation must keep to, whatever its method."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch
import yaml

from reference_impls.kit.catalogue import HOME, load, names, result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.quantizers import curve
from reference_impls.kit.results import read

ALLOWED = ("torch", "numpy", "amaranth", "reference_impls.kit", "reference_impls.fpga")
PAPERS = Path(__file__).parents[2] / "papers"
METHODS = names()


def tree(name: str) -> ast.Module:
    return ast.parse((HOME / f"{name}.py").read_text(encoding="utf-8"))


def imports(name: str) -> set[str]:
    found = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("name", METHODS)
def test_a_file_can_be_lifted_out(name: str) -> None:
    import sys

    foreign = {
        module
        for module in imports(name)
        if module.split(".")[0] not in sys.stdlib_module_names and not module.startswith(ALLOWED)
    }
    assert foreign == set()


@pytest.mark.parametrize("name", METHODS)
def test_a_file_has_60_to_250_lines(name: str) -> None:
    assert 60 <= len((HOME / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 250


@pytest.mark.parametrize("name", METHODS)
def test_the_docstring_names_formulas_and_departures(name: str) -> None:
    text = (HOME / f"{name}.py").read_text(encoding="utf-8")
    assert text.startswith('r"""'), "the docstring must be raw"
    docstring = load(name).__doc__ or ""
    assert re.match(r".+ \(.+ (19|20)\d\d\): .+", docstring), "first line: Name (authors venue year): one sentence"
    assert "$$" in docstring or "\\[" in docstring, "no formula"
    assert "gradient" in docstring.lower()
    departures = docstring.split("Differences from the paper", 1)
    assert len(departures) == 2, "no section 'Differences from the paper'"
    assert re.search(r"^\s*1\. ", departures[1], re.MULTILINE), "the differences are not numbered"


@pytest.mark.parametrize("name", METHODS)
def test_docstrings_with_backslashes_are_raw(name: str) -> None:
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
            text = ast.get_docstring(node, clean=False) or ""
            assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", text), f"control characters in {node}"


@pytest.mark.parametrize("name", METHODS)
def test_public_functions_have_docstrings(name: str) -> None:
    bare = [
        node.name
        for node in tree(name).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert bare == []


@pytest.mark.parametrize("name", METHODS)
def test_claims_are_the_records(name: str) -> None:
    method = load(name)
    (path,) = PAPERS.glob(f"[0-9]*/{method.RECORD}.yaml")
    record = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert record["implementation"] == name
    ids = [claim.id for claim in method.CLAIMS]
    assert ids, "no claim is measured"
    assert len(ids) == len(set(ids))
    assert set(ids) <= {claim["id"] for claim in record["claims"]}


@pytest.mark.parametrize("name", METHODS)
def test_the_accepted_result_is_of_this_method(name: str) -> None:
    method = load(name)
    result = read(result_path(method.RECORD))
    assert result.seeds == tuple(method.SEEDS)
    assert [outcome.id for outcome in result.claims] == [claim.id for claim in method.CLAIMS]
    assert [outcome.quantity for outcome in result.claims] == [claim.quantity for claim in method.CLAIMS]
    assert [outcome.remark for outcome in result.claims] == [claim.remark for claim in method.CLAIMS]
    for claim, outcome in zip(method.CLAIMS, result.claims, strict=True):
        assert outcome.verdict == "reproduced" or claim.remark, f"{claim.id}: say why it is {outcome.verdict}"


@pytest.mark.parametrize("name", METHODS)
def test_no_claim_compares_a_thing_with_itself(name: str) -> None:
    for claim in load(name).CLAIMS:
        other = claim.expected if isinstance(claim, Exact) else claim.baseline
        assert other != claim.metric


@pytest.mark.parametrize("name", METHODS)
def test_quantizers_are_their_integers_times_their_scale(name: str) -> None:
    for quantizer in load(name).QUANTIZERS:
        for tensor in (
            torch.linspace(quantizer.low, quantizer.high, 97).reshape(1, -1),
            torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(1)),
        ):
            values = quantizer.quantize(tensor)
            integers, scale = quantizer.to_integers(tensor)
            assert integers.dtype == torch.int64
            assert torch.equal(scale * integers, values.detach())
            assert len(torch.unique(integers)) <= 2**quantizer.bits


@pytest.mark.parametrize("name", METHODS)
def test_the_accepted_curves_are_those_of_the_code(name: str) -> None:
    method = load(name)
    accepted = read(result_path(method.RECORD)).quantizers
    assert len(accepted) == len(method.QUANTIZERS)
    for before, quantizer in zip(accepted, method.QUANTIZERS, strict=True):
        now = curve(quantizer)
        assert now.y == pytest.approx(before.y, rel=1e-4, abs=1e-5)
        assert now.gradient == pytest.approx(before.gradient, rel=1e-4, abs=1e-5)
