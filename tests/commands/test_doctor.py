from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from qkb.cli import main
from qkb.doctor.examine import CHECKS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import LibraryMaker


def test_find_mend_and_find_nothing(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", str(library.root)]
    assert main(["fmt", "--quiet", *root]) == 0
    assert main(["validate", "--write-schema", *root]) == 0
    library.record("hiding", 2016, links={"url": "https://arxiv.org/abs/1601.00007"})
    assert main(["fmt", "--quiet", *root]) == 0
    capsys.readouterr()
    assert main(["doctor", *root]) == 1
    out, err = capsys.readouterr()
    assert out == (
        "papers/2016/hiding.yaml:9: links.url: names the arXiv id 1601.00007, and links.arxiv is missing; "
        "--fix will move it to links.arxiv (ids)\n"
    )
    assert err == "qkb doctor: 4 records, 1 finding; --fix can mend 1\n"
    assert main(["doctor", "--fix", *root]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "qkb doctor: papers/2016/hiding.yaml: links.url: mended: move it to links.arxiv\n"
        "qkb doctor: 4 records, 0 findings; 1 mended\n"
    )
    assert main(["doctor", "--fix", "--quiet", *root]) == 0
    assert capsys.readouterr() == ("", "")


def test_json(library: LibraryMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out.json"
    words = ["doctor", "schema", "--format", "json", "--output", str(target), "--quiet", "--root", str(library.root)]
    assert main(words) == 1
    told = json.loads(target.read_text())
    assert (told["records"], told["fixed"], told["refused"]) == (3, [], [])
    (finding,) = told["findings"]
    assert (finding["check"], finding["file"], finding["fix"]) == ("schema", "papers/schema.json", "write it anew")
    assert capsys.readouterr() == ("", "")


def test_every_check_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for name in CHECKS:
        assert main(["doctor", "--explain", name]) == 0
        assert capsys.readouterr().out.startswith(f"{name}: ")
    assert main(["doctor", "--explain", "nothing"]) == 2
    assert "there is no check 'nothing'" in capsys.readouterr().err


def test_wrong_usage(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", str(library.root)]
    assert main(["doctor", "schem", *root]) == 2
    assert "Did you mean 'schema'?" in capsys.readouterr().err
    assert main(["doctor", "lists", *root]) == 2
    assert "--list FILE" in capsys.readouterr().err
    assert main(["doctor", "lists", "--list", "none.md", *root]) == 1
    assert capsys.readouterr().err == "qkb doctor: No such file or directory: none.md\n"


def test_a_fix_that_is_refused_is_told(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    path = library.record("hiding", 2016, links={"url": "https://arxiv.org/abs/1601.00007"})
    path.write_text(path.read_text().replace("1601.00007\n", "1601.00007  # seen\n"))
    assert main(["doctor", "ids", "--fix", "--root", str(library.root)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("papers/2016/hiding.yaml:")
    assert err.startswith("qkb doctor: not mended: papers/2016/hiding.yaml:1: ")
