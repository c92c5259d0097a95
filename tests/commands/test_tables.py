from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qkb.cli import main

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

HEAD = "| Paper | Authors | Year | Venue | Bits | Tags | Code | Implementation |"
RULE = "| --- | --- | --- | --- | --- | --- | --- | --- |"
WIDE = (
    "| [Wide Steps for Ternary and Wider Weights](https://arxiv.org/abs/1701.00002) | Moss | 2017 | arXiv | W2-8 Afp "
    "| qnn |  | wanted |"
)
SCALED = (
    "| [Scaled Sign Networks](https://doi.org/10.5555/scaled.sign) | Ode and Lind | 2016 | FABJ | W1 A1 "
    "| bnn, hardware | [official](https://code.example/scaled-sign) | binary/scaled\\_sign |"
)
TINY = (
    "| [Tiny Sign: Networks with One-Bit Weights](https://arxiv.org/abs/1511.00001) | Lind and Ruiz | 2015 | FABCONF "
    "| W1 | bnn |  | binary/tiny\\_sign |"
)


def test_tables_by_year(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tables", "--root", str(library.root)]) == 0
    said = capsys.readouterr()
    blocks = [f"## {year}\n\n{HEAD}\n{RULE}\n{row}\n" for year, row in ((2017, WIDE), (2016, SCALED), (2015, TINY))]
    assert said.out == "\n".join(blocks)
    assert said.err == ""


def test_tables_by_list_keep_its_order(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tables", "--by", "list", "--root", str(library.root)]) == 0
    assert capsys.readouterr().out == (
        f"## A small list: Section one\n\n{HEAD}\n{RULE}\n{TINY}\n{SCALED}\n\n"
        f"## A small list: Section two\n\n{HEAD}\n{RULE}\n{SCALED}\n"
    )


def test_tables_go_to_a_file(library: LibraryMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "tables.md"
    assert main(["tables", "--by", "tag", "--output", str(target), "--root", str(library.root)]) == 0
    assert target.read_text().startswith("## Binarized neural networks\n\nValues take two levels.\n\n| Paper |")
    assert capsys.readouterr().out == ""


def test_an_unknown_grouping_is_wrong_usage(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tables", "--by", "colour", "--root", str(library.root)]) == 2
    assert "invalid choice: 'colour'" in capsys.readouterr().err


def test_faults_are_told(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    library.record("bad", 2018, venue="NOWHERE")
    assert main(["tables", "--root", str(library.root)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("papers/2018/bad.yaml:")


README = "# A survey\n\n<!-- qkb tables --by year -->\n<!-- /qkb -->\n\nThe end.\n"


def test_a_file_with_tables_is_checked_and_renewed(
    library: LibraryMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "R.md"
    target.write_text(README)
    common = [str(target), "--root", str(library.root)]
    assert main(["tables", "--check", *common]) == 1
    assert capsys.readouterr().out == (f"{target}:3: the tables are out of date: renew them with qkb tables --write\n")
    assert target.read_text() == README
    assert main(["tables", "--write", *common]) == 0
    assert capsys.readouterr() == ("", f"qkb tables: {target}:3: renewed\n")
    assert f"{HEAD}\n{RULE}\n{TINY}\n" in target.read_text()
    assert target.read_text().startswith("# A survey\n\n<!-- qkb tables --by year -->\n\n## 2017\n")
    assert target.read_text().endswith("|\n\n<!-- /qkb -->\n\nThe end.\n")
    assert main(["tables", "--check", *common]) == 0
    assert capsys.readouterr() == ("", "")
    library.record("newest", 2018)
    assert main(["tables", "--check", *common]) == 1


def test_nothing_is_written_where_one_file_is_at_fault(
    library: LibraryMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.md", tmp_path / "bad.md"
    good.write_text(README)
    bad.write_bytes(b"\xff\xfe\xfd")
    assert main(["tables", "--write", str(good), str(bad), "--root", str(library.root)]) == 1
    assert capsys.readouterr().err == f"{bad}:1: this is no UTF-8: save the file as UTF-8\n"
    assert good.read_text() == README
    assert main(["tables", "--check", str(tmp_path / "none.md"), "--root", str(library.root)]) == 1
    assert capsys.readouterr().err == f"qkb tables: No such file or directory: {tmp_path / 'none.md'}\n"


@pytest.mark.parametrize("words", [["R.md"], ["--check"], ["--write", "R.md", "--by", "tag"], ["--check", "--write"]])
def test_files_and_their_options_belong_together(
    words: list[str], library: LibraryMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tables", *words, "--root", str(library.root)]) == 2
    assert capsys.readouterr().err.startswith("qkb tables: ")
