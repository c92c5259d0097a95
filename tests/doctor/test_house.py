from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import qkb
from qkb.doctor.examine import examine
from reference_impls.kit.results import Outcome, Result, write

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

METHOD = """\
RECORD = "{record}"
CLAIMS = (
    Difference("{claim}", "sign", "real", -1.0, remark="{remark}"),
)
"""


def lines(library: LibraryMaker, check: str, *, fix: bool = False) -> list[str]:
    return [str(one) for one in examine(library.place, [check], fix=fix).findings]


def laid_out(library: LibraryMaker) -> None:
    assert lines(library, "layout", fix=True) == []


def test_the_faults_of_the_validator_are_findings(library: LibraryMaker) -> None:
    assert lines(library, "faults") == []
    library.write("papers/2016/broken.yaml", "title: [\n")
    (line,) = lines(library, "faults", fix=True)
    assert line.startswith("papers/2016/broken.yaml:")


def test_layout_is_found_and_mended(library: LibraryMaker) -> None:
    path = library.record("ragged", 2016)
    path.write_text(path.read_text() + "# kept\n")
    assert "papers/2016/ragged.yaml:1: is not in the canonical layout; --fix will lay it out (layout)" in lines(
        library, "layout"
    )
    laid_out(library)
    assert path.read_text().endswith("# kept\n")
    assert examine(library.place, ["layout"], fix=True).fixed == ()


def test_terms_that_nobody_uses(library: LibraryMaker) -> None:
    assert lines(library, "vocabulary") == []
    (library.papers / "2017/wide-steps.yaml").unlink()
    assert [line.split(": ")[:2] for line in lines(library, "vocabulary")] == [
        ["papers/vocabulary/topics.yaml:4", "ternary"],
        ["papers/vocabulary/venues.yaml:1", "arXiv"],
    ]


def test_the_schema_is_found_and_mended(library: LibraryMaker) -> None:
    for text in (None, "{", "{}"):
        if text is not None:
            library.write("papers/schema.json", text)
        assert "--fix will write it anew (schema)" in lines(library, "schema")[0]
        assert lines(library, "schema", fix=True) == []
        assert lines(library, "schema") == []


def test_no_schema_of_half_a_vocabulary(library: LibraryMaker) -> None:
    library.write("papers/vocabulary/topics.yaml", "a: [")
    assert lines(library, "schema", fix=True) == []
    assert not (library.papers / "schema.json").exists()


def test_the_reference_is_compared_only_in_the_checkout_that_runs(library: LibraryMaker) -> None:
    library.write("site/pages/cli.md", "old\n")
    assert lines(library, "reference") == []
    (library.root / "qkb").symlink_to(Path(str(qkb.__file__)).parent)
    assert lines(library, "reference") == [
        "site/pages/cli.md:1: is not what the commands' manuals and options say; --fix will write it anew (reference)"
    ]
    assert lines(library, "reference", fix=True) == []
    assert lines(library, "reference") == []
    assert "## qkb doctor\n" in (library.root / "site/pages/cli.md").read_text()


def with_method(library: LibraryMaker, claim: str = "one-bit", remark: str = "") -> None:
    library.write("reference_impls/kit/__init__.py", "")
    source = METHOD.format(record="tiny-sign", claim=claim, remark=remark)
    library.write("reference_impls/binary/tiny_sign.py", source)


def with_result(library: LibraryMaker) -> None:
    outcome = Outcome("one-bit", "reproduced", "sign - real", "> -1", 0.0, -0.1, 0.1, "points", "")
    write(library.root / "reference_impls/results/tiny-sign.json", Result("2.6", (0, 1), {}, (outcome,), ()))


def test_orphans(library: LibraryMaker) -> None:
    assert lines(library, "orphans") == []
    with_method(library)
    assert lines(library, "orphans") == [
        "reference_impls/binary/tiny_sign.py:1: has no accepted result; run qkb reproduce tiny-sign --accept (orphans)"
    ]
    with_result(library)
    assert lines(library, "orphans") == []


def test_results_that_state_other_claims(library: LibraryMaker) -> None:
    with_method(library)
    assert lines(library, "results") == []
    with_result(library)
    assert lines(library, "results") == []
    with_method(library, remark="new")
    (line,) = lines(library, "results", fix=True)
    assert line == (
        "reference_impls/results/tiny-sign.json:1: claims.one-bit.remark: the remark was `` and is `new` in the "
        "method's file: run qkb reproduce tiny-sign --accept (results)"
    )
    with_method(library, claim="two-bits")
    assert [line.split(": ")[1:3] for line in lines(library, "results")] == [
        ["claims.one-bit", "the method's file states no such claim"],
        ["claims.two-bits", "was never measured"],
    ]


def test_the_unreadable_is_the_matter_of_another_check(library: LibraryMaker) -> None:
    with_method(library)
    library.write("reference_impls/results/tiny-sign.json", "{")
    assert lines(library, "results") == []
    assert len(lines(library, "orphans")) == 1
    library.write("reference_impls/binary/tiny_sign.py", "def")
    assert lines(library, "results") == []
