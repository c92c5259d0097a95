from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qkb.cli import main

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(library: LibraryMaker) -> LibraryMaker:
    """The small library with the sources of the site."""
    shutil.copytree(ROOT / "site", library.root / "site")
    shutil.copy(ROOT / "mkdocs.yml", library.root)
    return library


def test_pages_are_built_and_counted(checkout: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--pages-only", "--root", str(checkout.root)]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("3 records: ")
    assert "site" not in said.err.partition("docs")[2]
    assert (checkout.root / "build" / "docs" / "papers" / "tiny-sign.md").is_file()


@pytest.mark.slow
def test_the_site_is_built_once(checkout: LibraryMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["build", "--root", str(checkout.root), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert "; site made in " in capsys.readouterr().err
    assert main(arguments) == 0
    assert "0 of " in (said := capsys.readouterr().err)
    assert "; the site was up to date" in said
    assert main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_faults_are_told_with_their_lines(checkout: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    checkout.record("bad", 2018, venue="NOWHERE")
    assert main(["build", "--root", str(checkout.root)]) == 1
    assert capsys.readouterr().err.startswith("papers/2018/bad.yaml:")
    assert not (checkout.root / "build").exists()


def test_the_folders_of_others_are_refused(
    checkout: LibraryMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine" / "docs").mkdir(parents=True)
    (tmp_path / "mine" / "docs" / "thesis.tex").write_text("mine")
    assert main(["build", "--root", str(checkout.root), "--output", str(tmp_path / "mine")]) == 1
    assert "was not made by `qkb build`" in capsys.readouterr().err


def test_a_folder_without_a_library_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--root", str(tmp_path)]) == 2
    assert "no library" in capsys.readouterr().err


def test_building_imports_neither_torch_nor_numpy(checkout: LibraryMaker) -> None:
    program = (
        "import sys; from qkb.cli import main; "
        f"code = main(['build', '--quiet', '--root', {str(checkout.root)!r}]); "
        "print(code, sorted({'torch', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "0 []\n"
    assert done.stderr == ""
