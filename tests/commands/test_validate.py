from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from qkb.cli import main
from qkb.commands.validate import Report, annotation, inside, run
from qkb.errors import UsageError
from qkb.records.faults import Fault
from qkb.records.schema import schema_text
from qkb.records.vocabulary import load_vocabulary

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import LibraryMaker

PLACE = "papers/2016/x.yaml"
UNKNOWN = "unknown venue `Zzz`. Describe it in papers/vocabulary/venues.yaml if it is new."
SHORT = "the notes have 1 sentence: write 3 to 8"


@pytest.fixture
def whole(library: LibraryMaker) -> LibraryMaker:
    """A library with the schema for editors."""
    library.write("papers/schema.json", schema_text(load_vocabulary(library.place).vocabulary))
    return library


@pytest.fixture
def faulty(whole: LibraryMaker) -> LibraryMaker:
    """A library with two faults in one record and one in another."""
    whole.record("x", venue="Zzz", notes="Short.")
    whole.record("y", 2018, notes="Short.")
    return whole


def line_of_key(path: Path, key: str) -> int:
    """Return the line of a top-level key."""
    return [line.partition(":")[0] for line in path.read_text().splitlines()].index(key) + 1


def test_a_library_without_fault(whole: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--root", str(whole.root)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "qkb validate: 3 records, no faults; 1 of 3 implementations is wanted\n"


def test_every_fault_is_a_line(faulty: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--root", str(faulty.root)]) == 1
    out, err = capsys.readouterr()
    x, y = faulty.root / PLACE, faulty.papers / "2018" / "y.yaml"
    assert out.splitlines() == [
        f"{PLACE}:{line_of_key(x, 'venue')}: venue: {UNKNOWN}",
        f"{PLACE}:{line_of_key(x, 'notes')}: notes: {SHORT}",
        f"papers/2018/y.yaml:{line_of_key(y, 'notes')}: notes: {SHORT}",
    ]
    assert err == "qkb validate: 5 records, 3 faults in 2 files; 3 of 5 implementations are wanted\n"


def test_the_current_folder_is_the_library(
    faulty: LibraryMaker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(faulty.papers / "2018")
    assert main(["validate", "y.yaml", "--quiet"]) == 1
    line = line_of_key(faulty.papers / "2018" / "y.yaml", "notes")
    assert capsys.readouterr() == (f"papers/2018/y.yaml:{line}: notes: {SHORT}\n", "")


def test_paths_limit_what_is_reported_not_what_is_compared(whole: LibraryMaker) -> None:
    one = whole.record("one", 2016, links={"arxiv": "1601.00001"})
    other = whole.record("other", 2018, links={"arxiv": "1601.00001"})
    for path, named in ((one, other), (other, one)):
        report = run(whole.place, [str(path)])
        assert [fault.file for fault in report.faults] == [path.relative_to(whole.root).as_posix()]
        assert named.relative_to(whole.root).as_posix() in report.faults[0].message
        assert (report.records, report.wanted) == (1, (path.stem,))
    assert len(run(whole.place, [str(one), str(other.parent)]).faults) == 2
    assert len(run(whole.place, [str(whole.root)]).faults) == 2
    assert run(whole.place, [str(whole.papers / "2017")]).faults == ()
    assert run(whole.place, [str(whole.papers / "vocabulary")]).faults == ()


def test_paths_that_are_wrong(whole: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"there is no file nowhere\.yaml"):
        inside(whole.place, ["nowhere.yaml"])
    with pytest.raises(UsageError, match="is not in the library"):
        inside(whole.place, [str(whole.root.parent)])
    assert main(["validate", "--root", str(whole.root), "nowhere.yaml"]) == 2
    assert capsys.readouterr() == ("", "qkb validate: there is no file nowhere.yaml\n")


def test_a_sibling_with_a_longer_name_is_not_chosen(whole: LibraryMaker) -> None:
    short = whole.record("x", notes="Short.")
    whole.write("papers/2016/x.yaml.orig", "")
    assert [fault.file for fault in run(whole.place, [str(short)]).faults] == [PLACE]


def test_strict_wants_every_implementation(whole: LibraryMaker) -> None:
    assert run(whole.place).faults == ()
    line = line_of_key(whole.papers / "2017" / "wide-steps.yaml", "implementation")
    message = "still wanted: write the implementation and name it here as family/module"
    assert run(whole.place, strict=True).faults == (
        Fault("papers/2017/wide-steps.yaml", line, "implementation", message),
    )
    assert run(whole.place, [str(whole.papers / "2016")], strict=True).faults == ()
    assert main(["validate", "--strict", "--quiet", "--root", str(whole.root)]) == 1


def test_json_for_programs(faulty: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--format", "json", "--quiet", "--root", str(faulty.root)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report.keys() == {"faults", "records", "wanted"}
    assert report["records"] == 5
    assert report["wanted"] == ["x", "wide-steps", "y"]
    assert report["faults"][0] == {"file": PLACE, "line": 4, "path": "venue", "message": UNKNOWN}


def test_annotations_for_github(faulty: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--format", "github", "--quiet", "--root", str(faulty.root)]) == 1
    assert capsys.readouterr().out.splitlines()[0] == f"::error file={PLACE},line=4,title=venue::{UNKNOWN}"


def test_an_annotation_cannot_be_broken_out_of() -> None:
    fault = Fault("papers/a,b:c.yaml", 1, "x\n::error::", "50 %\r\nmore")
    assert annotation(fault) == (
        "::error file=papers/a%2Cb%3Ac.yaml,line=1,title=x%0A%3A%3Aerror%3A%3A::50 %25%0D%0Amore"
    )
    assert annotation(Fault("f", 2, "", "m")) == "::error file=f,line=2::m"


def test_output_goes_to_a_file(faulty: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    path = faulty.root / "report.json"
    assert main(["validate", "--root", str(faulty.root), "--format", "json", "--output", str(path)]) == 1
    assert capsys.readouterr().out == ""
    assert len(json.loads(path.read_text())["faults"]) == 3


def test_the_schema_is_checked_with_everything_else(library: LibraryMaker) -> None:
    missing = Fault("papers/schema.json", 1, "", "the file is missing: write it with qkb validate --write-schema")
    assert run(library.place).faults == (missing,)
    assert run(library.place, [str(library.papers / "2016")]).faults == ()


def test_the_schema_is_not_blamed_for_a_faulty_vocabulary(whole: LibraryMaker) -> None:
    whole.write("papers/vocabulary/topics.yaml", "")
    assert [fault.file for fault in run(whole.place).faults] == ["papers/vocabulary/topics.yaml"]


def test_the_schema_is_written_and_checked(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", str(library.root)]
    assert main(["validate", "--check-schema", *root]) == 1
    assert "the file is missing" in capsys.readouterr().out
    assert main(["validate", "--write-schema", *root]) == 0
    assert capsys.readouterr() == ("", "qkb validate: papers/schema.json is written\n")
    assert json.loads((library.papers / "schema.json").read_text())["properties"]["venue"]["enum"][0] == "arXiv"
    assert main(["validate", "--check-schema", *root]) == 0
    assert capsys.readouterr() == ("", "")
    library.write("papers/vocabulary/topics.yaml", "b: {name: B, description: C}\n")
    assert main(["validate", "--check-schema", "--format", "github", *root]) == 1
    assert capsys.readouterr().out.startswith("::error file=papers/schema.json,line=1::out of date")


def test_no_schema_is_written_of_a_faulty_vocabulary(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    library.write("papers/vocabulary/topics.yaml", "")
    assert main(["validate", "--write-schema", "--root", str(library.root)]) == 1
    assert capsys.readouterr().err == (
        "papers/vocabulary/topics.yaml:1: the file is empty: it must hold `key: value` lines\n"
    )
    assert not (library.papers / "schema.json").exists()


@pytest.mark.parametrize("more", [["--strict"], ["papers"]])
def test_the_schema_stands_alone(library: LibraryMaker, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--write-schema", *more, "--root", str(library.root)]) == 2
    assert "take neither PATHs nor --strict" in capsys.readouterr().err


def test_summaries_count_one_as_one() -> None:
    assert Report((Fault("f", 1, "", ""),), 1, ("x",)).summary() == (
        "1 record, 1 fault in 1 file; 1 of 1 implementation is wanted"
    )
    assert Report((), 0, ()).summary() == "0 records, no faults; 0 of 0 implementations are wanted"


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbfa: 1", b"- a", b"a: [", b"a: &x [*x]", b"[" * 100_000, b"a: !!x y",
     b"a: 1\n---\nb: 2\n", b"a: \"\\ud800\"", b"? [a]\n: b", b"title: 1e999\n", b"notes: {a: {b: c}}\n"],
)  # fmt: skip
def test_no_content_raises(whole: LibraryMaker, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    whole.write("papers/2016/bad.yaml", content)
    assert main(["validate", "--root", str(whole.root)]) == 1
    out, err = capsys.readouterr()
    assert out
    assert all(line.startswith("papers/2016/bad.yaml:") for line in out.splitlines())
    assert err.startswith("qkb validate: 4 records, ")


def test_a_terminal_that_knows_only_ascii(whole: LibraryMaker) -> None:
    whole.write("papers/2016/bad.yaml", "title: 量子化\nkind: größe\n")
    done = subprocess.run(
        [sys.executable, "-m", "qkb", "validate", "--root", str(whole.root)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "unknown word `gr\\xf6\\xdfe`" in done.stdout
