from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qkb.implementations import CannotRunError, Methods, constant_of, orphans, record_of
from qkb.paths import Place
from qkb.records.load import load_all

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

ROOT = Path(__file__).parent.parent
METHOD = 'r"""A method."""\n\nRECORD = "{record}"\n'
RESULT = '{"torch": "2", "seeds": [0], "metrics": {"a": [1.0]}, "claims": [], "quantizers": []}'


@pytest.fixture
def methods(library: LibraryMaker) -> Methods:
    """Two methods whose records, tests and results are all there."""
    for record, module in (("tiny-sign", "tiny_sign"), ("scaled-sign", "scaled_sign")):
        library.write(f"reference_impls/binary/{module}.py", METHOD.format(record=record))
        library.write(f"tests/reference_impls/binary/test_{module}.py", "")
        library.write(f"reference_impls/results/{record}.json", RESULT)
    return Methods(library.root / "reference_impls")


def found(library: LibraryMaker, methods: Methods) -> list[str]:
    records = load_all(library.place).records
    return [str(fault) for fault in orphans(methods, records, library.root / "tests" / "reference_impls")]


def test_nothing_is_lost_where_everything_has_its_counterpart(library: LibraryMaker, methods: Methods) -> None:
    assert found(library, methods) == []


def test_a_method_without_test_or_result(library: LibraryMaker, methods: Methods) -> None:
    (library.root / "tests/reference_impls/binary/test_tiny_sign.py").unlink()
    methods.result_path("scaled-sign").unlink()
    assert found(library, methods) == [
        "reference_impls/binary/scaled_sign.py:1: has no accepted result; run qkb reproduce scaled-sign --accept",
        "reference_impls/binary/tiny_sign.py:1: has no test; write tests/reference_impls/binary/test_tiny_sign.py",
    ]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('"""Nothing."""\n', "binary/tiny_sign.py:1: RECORD: names no record"),
        (METHOD.format(record="unheard-of"), "RECORD: there is no record 'unheard-of'"),
        (METHOD.format(record="wide-steps"), "RECORD: the record 'wide-steps' does not name this file"),
        ("def f(:\n", "binary/tiny_sign.py:1: does not parse"),
    ],
)
def test_a_method_without_its_record(library: LibraryMaker, methods: Methods, source: str, said: str) -> None:
    methods.source("binary/tiny_sign").write_text(source)
    assert any(said in line for line in found(library, methods)), found(library, methods)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("nobody.json", RESULT, "no record 'nobody' has an implementation"),
        ("wide-steps.json", RESULT, "no record 'wide-steps' has an implementation"),
        ("tiny-sign.json", "{", "tiny-sign.json: not a result file"),
        ("fpga/mlp/nobody.json", "{}", "no record 'nobody' has an implementation"),
        ("fpga/cnn/wide-steps.json", "{}", "no record 'wide-steps' has an implementation"),
        ("fpga/mlp/tiny-sign.json", "{}", "tiny-sign.json: not a hardware result"),
        (
            "tiny-sign.json",
            RESULT.replace(
                '"claims": []',
                '"claims": [{"id": "gone", "verdict": "reproduced", "quantity": "a", "bound": "", "estimate": 1.0, '
                '"low": 1.0, "high": 1.0, "unit": "", "remark": ""}]',
            ),
            "claims.gone: the record has no claim 'gone'; its claims are one-bit",
        ),
    ],
)
def test_a_result_without_its_record(library: LibraryMaker, methods: Methods, name: str, text: str, said: str) -> None:
    path = methods.home / "results" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert any(said in line for line in found(library, methods)), found(library, methods)


def test_tests_are_not_asked_for_where_they_do_not_travel_along(library: LibraryMaker, methods: Methods) -> None:
    (library.root / "tests/reference_impls/binary/test_tiny_sign.py").unlink()
    assert orphans(methods, load_all(library.place).records, None) == []


def test_the_real_library_has_no_orphans() -> None:
    place = Place(ROOT)
    assert orphans(Methods.of(place), load_all(place).records, ROOT / "tests" / "reference_impls") == []


@pytest.mark.parametrize("text", ['RECORD = "the-one"', 'RECORD, SEEDS = "the-one", range(20)'])
def test_record_of_reads_without_running(tmp_path: Path, text: str) -> None:
    source = tmp_path / "m.py"
    source.write_text(f'raise SystemExit\nOTHER = "x"\nx.y = 1\n{text}\n')
    assert record_of(source) == "the-one"


def test_a_library_without_methods_of_its_own_uses_the_installed_ones(library: LibraryMaker) -> None:
    assert Methods.of(library.place).home == ROOT / "reference_impls"
    assert Methods.of(Place(ROOT)).home == ROOT / "reference_impls"


def test_an_unknown_method_and_a_missing_package_are_said_plainly(
    library: LibraryMaker, methods: Methods, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CannotRunError, match=r"there is no file .*binary/none\.py"):
        methods.measure("binary/none")

    def no_torch(name: str, package: str | None = None) -> Any:
        if name == "reference_impls.kit.measure":
            raise ImportError("No module named 'torch'")
        return real(name, package)

    import importlib

    real = importlib.import_module
    monkeypatch.setattr("importlib.import_module", no_torch)
    with pytest.raises(CannotRunError, match=r"No module named 'torch'\); install what the methods need"):
        methods.measure("binary/tiny_sign")


def test_finding_implementations_needs_no_torch() -> None:
    code = (
        "import sys; from qkb.paths import Place; from qkb.implementations import Methods; "
        f"methods = Methods.of(Place({str(ROOT)!r})); assert methods.names(); "
        "[methods.result(p.stem) for p in methods.home.glob('results/*.json')]; "
        "bad = {'torch', 'numpy', 'scipy', 'sklearn'} & set(sys.modules); assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("text", "found"), [('BUDGET_BITS = "w1a1"', "w1a1"), ('OTHER = "w1a1"', None), ("", None)])
def test_a_constant_is_read_by_its_name(text: str, found: str | None) -> None:
    assert constant_of(text, "BUDGET_BITS") == found
