from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qkb.cli import main
from qkb.commands import new
from qkb.commands.validate import run as validate
from qkb.errors import UsageError
from qkb.implementations import record_of
from qkb.imports.work import Work
from qkb.metadata.http import Client
from qkb.paths import Place
from qkb.records.yaml_lines import read
from qkb.scaffold import plan
from qkb.scaffold.plan import RefusedError

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

DATA = Path(__file__).parents[1] / "metadata" / "data"
RECORD = "papers/2018/fabnet.yaml"
METHOD = "reference_impls/binary/fabnet.py"
INIT = "reference_impls/binary/__init__.py"
TEST = "tests/reference_impls/binary/test_fabnet.py"
LAID_OUT = """\
# yaml-language-server: $schema=../schema.json
title: "FabNet: Binary Filters Made of Nothing"
authors: [Ada Lind, Bo Ruíz]
venue: FABCONF
kind: conference
pages: 12-20
links: {arxiv: "1701.00042", doi: 10.5555/fab.42}
implementation: binary/fabnet
"""


@dataclass
class Frozen(Client):
    """Registries whose answers stand in files."""

    retries: int = 0
    delays: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    hostile: str = ""

    def _ask(self, url: str) -> tuple[int, bytes, str | None]:
        self.asked.append(url)
        files = {"export.arxiv.org": "arxiv.xml", "api.crossref.org": "crossref.json", "api2.open": "openreview-2.json"}
        name = next((name for start, name in files.items() if start in url), None)
        if name is None or "99999" in url:
            return (
                (200, b"<feed xmlns='http://www.w3.org/2005/Atom'/>", None) if "arxiv.org" in url else (404, b"", None)
            )
        return (
            200,
            (DATA / name).read_bytes().replace(b"FabNet: Binary", self.hostile.encode() or b"FabNet: Binary"),
            None,
        )


@pytest.fixture
def shelf(library: LibraryMaker, monkeypatch: pytest.MonkeyPatch) -> LibraryMaker:
    """A library with a folder of methods, in which the commands run; nobody is asked over the net."""
    (library.root / "reference_impls").mkdir()
    monkeypatch.chdir(library.root)
    monkeypatch.setattr(new, "client_of", lambda place, *, offline=False: Frozen(cache=place.cache(), offline=offline))
    return library


def there(shelf: LibraryMaker) -> set[str]:
    paths = (path.relative_to(shelf.root).as_posix() for path in shelf.root.rglob("*") if path.is_file())
    return {path for path in paths if not path.startswith(".qkb/")}


def test_an_arxiv_id(shelf: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    before = there(shelf)
    assert main(["new", "1701.00042"]) == 0
    out, err = capsys.readouterr()
    assert there(shelf) - before == {RECORD, METHOD, INIT, TEST}
    assert (shelf.root / RECORD).read_text(encoding="utf-8") == LAID_OUT
    assert record_of(shelf.root / METHOD) == "fabnet"
    assert f"wrote {RECORD}\n" in out
    assert " 2. papers/2018/fabnet.yaml: write tags: " in out
    assert "qkb reproduce fabnet --accept" in out
    assert err.endswith("fabnet: 4 files written, 11 steps left\n")


def test_validate_names_exactly_what_is_missing(shelf: LibraryMaker) -> None:
    begun = new.run(Place(shelf.root), "1701.00042", client=Frozen())
    faults = validate(Place(shelf.root), [str(shelf.root / RECORD)]).faults
    assert tuple(fault.path for fault in faults) == begun.plan.missing == ("tags", "topics", "claims", "notes")
    assert main(["fmt", "--check", str(shelf.root / RECORD)]) == 0


def test_a_second_time_it_is_known(shelf: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "1701.00042"]) == 0
    before = {path: (shelf.root / path).read_bytes() for path in there(shelf)}
    capsys.readouterr()
    for again in (["10.5555/fab.42"], ["https://arxiv.org/abs/1701.00042v1"], ["openreview:FabForum2"],
                  ["--title", "Fabnet -- binary filters made of nothing", "--year", "2018"]):  # fmt: skip
        assert main(["new", *again]) == 1
        assert "this work has a record: fabnet, by its" in capsys.readouterr().err
    assert {path: (shelf.root / path).read_bytes() for path in there(shelf)} == before


def test_what_is_known_is_not_asked_for(shelf: LibraryMaker) -> None:
    client = Frozen()
    with pytest.raises(RefusedError, match="tiny-sign, by its arXiv id"):
        new.run(Place(shelf.root), "1511.00001", client=client)
    assert client.asked == []


def test_an_alias_may_be_the_same_work(shelf: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    work = ["new", "--title", "TinySign", "--author", "Someone Else", "--year", "2018", "--url", "https://a.example/x"]
    assert main(work) == 1
    assert "this may be the work of tiny-sign" in capsys.readouterr().err
    assert main([*work, "--anyway"]) == 0
    assert (shelf.root / "papers/2018/tinysign.yaml").is_file()


def test_a_dry_run_writes_nothing(shelf: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    before = there(shelf)
    assert main(["new", "1701.00042", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert there(shelf) == before
    assert f"would write {METHOD}" in out
    assert "    authors: [Ada Lind, Bo Ruíz]" in out
    assert "4 files would be" in err


def test_by_hand(shelf: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--title", "Made of Hands", "--author", "Lind, Ada", "--author", "Bo Ruiz", "--year", "2019"]
    assert main(["new", *words, "--venue", "FabConf 2019", "--url", "https://a.example/x", "--id", "by-hand"]) == 0
    text = (shelf.root / "papers/2019/by-hand.yaml").read_text(encoding="utf-8")
    assert "authors: [Ada Lind, Bo Ruiz]\nvenue: FABCONF\nkind: conference\n" in text
    assert "implementation: wanted\n" in text
    assert "qkb new by-hand --family FAMILY" in capsys.readouterr().out


def test_a_bibtex_entry_counts_more_than_a_registry(shelf: LibraryMaker) -> None:
    file = shelf.write("x.bib", "@article{x, title={FabNet: Binary Filters Made of Nothing}, author={Lind, A. B.},\n"
                                "year=2017, journal={FABJ}, doi={10.5555/fab.42}}")  # fmt: skip
    begun = new.run(Place(shelf.root), bibtex=str(file), with_method=False, client=Frozen())
    text = dict(begun.plan.files)["papers/2017/fabnet.yaml"]
    assert "authors: [A. B. Lind]\nvenue: FABJ\nkind: journal\n" in text
    assert "implementation: wanted" in text
    assert [path for path, _ in begun.plan.files] == ["papers/2017/fabnet.yaml"]


def test_an_unknown_venue_is_named_with_the_nearest(shelf: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--title", "Made of Hands", "--year", "2019", "--venue", "FABCON", "--url", "https://a.example/x"]
    assert main(["new", *words]) == 0
    assert "'FABCON' is not in papers/vocabulary/venues.yaml: write FABCONF if" in capsys.readouterr().err
    faults = validate(Place(shelf.root), [str(shelf.root / "papers/2019/made-of-hands.yaml")]).faults
    assert "venue" in {fault.path for fault in faults}


def test_offline(shelf: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "1701.00042", "--offline"]) == 0
    out, err = capsys.readouterr()
    assert "export.arxiv.org is not asked" in err
    assert "no registry could be asked" in out
    text = (shelf.root / "papers/2017/1701-00042.yaml").read_text(encoding="utf-8")
    assert text.splitlines()[1:] == ['links: {arxiv: "1701.00042"}', "implementation: wanted"]


def test_offline_without_a_year(shelf: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    before = there(shelf)
    assert main(["new", "10.5555/fab.42", "--offline"]) == 2
    assert "give it with --year" in capsys.readouterr().err
    assert there(shelf) == before
    assert main(["new", "10.5555/fab.42", "--offline", "--year", "2018", "--id", "fabnet", "--family", "binary"]) == 0
    assert there(shelf) - before == {RECORD, METHOD, INIT, TEST}


def test_what_nobody_knows(shelf: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    before = there(shelf)
    assert main(["new", "1701.99999"]) == 1
    assert "no registry knows the arXiv id 1701.99999" in capsys.readouterr().err
    assert there(shelf) == before


def test_the_method_of_a_record(shelf: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    record = shelf.root / "papers/2017/wide-steps.yaml"
    before = record.read_bytes()
    assert main(["new", "wide-steps"]) == 0
    out, _ = capsys.readouterr()
    assert "wrote reference_impls/ternary/wide_steps.py" in out
    assert "1. papers/2017/wide-steps.yaml: write implementation: ternary/wide_steps" in out
    assert record.read_bytes() == before
    assert main(["new", "wide-steps"]) == 1
    assert "there is nothing to write" in capsys.readouterr().err


def test_what_an_interrupted_run_left_is_completed(shelf: LibraryMaker) -> None:
    assert main(["new", "1701.00042"]) == 0
    (shelf.root / TEST).unlink()
    (shelf.root / METHOD).write_text('RECORD = "fabnet"  # begun\n', encoding="utf-8")
    begun = new.run(Place(shelf.root), "fabnet")
    assert begun.written == (TEST,)
    assert begun.kept == (RECORD, METHOD, INIT)
    assert (shelf.root / METHOD).read_text(encoding="utf-8").endswith("# begun\n")


def test_another_records_method_is_in_the_way(shelf: LibraryMaker) -> None:
    shelf.write(METHOD, 'RECORD = "other"\n')
    before = there(shelf)
    with pytest.raises(RefusedError, match="another record's method"):
        new.run(Place(shelf.root), "1701.00042", client=Frozen())
    assert there(shelf) == before


def test_of_two_at_once_one_writes(shelf: LibraryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = new.run(Place(shelf.root), "1701.00042", client=Frozen(), dry_run=True).plan
    shelf.write(RECORD, "# somebody else's\n")
    before = there(shelf)
    with pytest.raises(RefusedError, match="exists already: nothing is written"):
        plan.write(drawn, Place(shelf.root))
    assert there(shelf) == before
    assert (shelf.root / RECORD).read_text(encoding="utf-8") == "# somebody else's\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a work"),
        (["nonsense"], "neither an identifier nor the id of a record"),
        (["1701.00042", "--id", "../../x"], "is no id"),
        (["1701.00042", "--id", "x" * 65], "shorten it to 64"),
        (["1701.00042", "--family", "binery"], "Did you mean 'binary'?"),
        (["1701.00042", "--family", "../x"], "there is no such family"),
        (["1701.00042", "--year", "217"], "write a year"),
        (["--title", "x", "--year", "2017", "--url", "javascript:alert(1)"], "begins with http"),
        (["wide-steps", "--id", "x"], "only --family goes with it"),
        (["wide-steps", "--family", "binary", "--no-method"], "not allowed with"),
    ],
)
def test_usage(shelf: LibraryMaker, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    before = there(shelf)
    assert main(["new", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert there(shelf) == before


def test_an_id_that_is_taken(shelf: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "1701.00042", "--id", "tiny-sign"]) == 1
    assert "there is papers/2015/tiny-sign.yaml already" in capsys.readouterr().err


def test_the_installed_copy_is_not_written_to(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="installed copy"):
        new.run(Place(tmp_path, bundled=True), "1701.00042")


@pytest.mark.parametrize(
    "title",
    ["&lt;script&gt;alert(1)&lt;/script&gt; Binary", 'Binary \\" import os #', "[x](javascript:alert(1)) Binary",
     "../../../etc/passwd Binary", "Binary {{ 7*7 }} {% include 'x' %}", "Binary: !!python/object/apply:os.system x"],
)  # fmt: skip
def test_hostile_metadata(shelf: LibraryMaker, title: str) -> None:
    client = Frozen(hostile=title.replace("\\", "").replace('"', "&quot;"))
    before = there(shelf)
    begun = new.run(Place(shelf.root), "1701.00042", client=client)
    assert len(there(shelf) - before) == len(begun.written)
    text = (shelf.root / begun.written[0]).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "javascript:" not in text
    record = read(str(shelf.root / begun.written[0]), begun.written[0])
    assert record.data is not None
    assert not record.faults
    faults = validate(Place(shelf.root), [str(shelf.root / begun.written[0])]).faults
    assert {fault.path for fault in faults} <= {*begun.plan.missing, "title"}
    for path in begun.written:
        if path.endswith(".py"):
            compile((shelf.root / path).read_text(encoding="utf-8"), path, "exec")


def test_json(shelf: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "1701.00042", "--format", "json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert err == ""
    assert told["id"] == "fabnet"
    assert told["written"] == told["files"] == [RECORD, METHOD, INIT, TEST]
    assert told["missing"] == ["tags", "topics", "claims", "notes"]
    assert told["sources"] == ["Crossref", "arXiv"]


def test_what_is_given_by_hand_counts(shelf: LibraryMaker) -> None:
    begun = new.run(Place(shelf.root), "1701.00042", by_hand=Work(year=2016, venue="FABJ"), client=Frozen())
    assert begun.written[0] == "papers/2016/fabnet.yaml"
    assert "venue: FABJ\nkind: journal\n" in dict(begun.plan.files)["papers/2016/fabnet.yaml"]


def test_a_read_only_library(shelf: LibraryMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system", "papers/2018")

    monkeypatch.setattr("qkb.imports.draft.create", refuse)
    assert main(["new", "1701.00042"]) == 1


def test_it_starts_as_a_program(shelf: LibraryMaker) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "qkb", "new", "1511.00001", "--root", str(shelf.root)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "this work has a record: tiny-sign" in done.stderr
