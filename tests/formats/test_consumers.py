"""The programs that read our bibliographies accept the whole library, and hostile records, without a warning."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from qkb.formats import dump
from qkb.library import Library
from qkb.paths import Place

if TYPE_CHECKING:
    from pathlib import Path

    from qkb.entry import Entry
    from tests.formats.conftest import Maker

HERE = Place(__file__.rpartition("/tests/")[0])
KINDS = ("conference", "workshop", "journal", "preprint", "thesis", "report", "blog", "software", "book")
TITLES = (
    "A & B % C _ D # E $ F", "braces { } and \\ back ~ ^",
    "\"quoted\" ``ticks'' 'single' --- -- -", "Ünïcödé Łódź ß ø ű",
    "量子化 ネット", "@misc{y, title}", "≤ α → ∞ −", "Кириллица", "ends with \\", "it’s “q” – —", "% only", "#1",
)  # fmt: skip


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip, by name, where a program is not installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@pytest.fixture
def records(make: Maker) -> list[Entry]:
    """The library, and records in which every part is awkward."""
    links = {
        "arxiv": "1701.00002", "doi": "10.5555/a_b%c&d#x", "openreview": "ABC_def-123",
        "url": "https://a.example/x?a=1&b=2%20#c_d~e",
    }  # fmt: skip
    authors = ("Sébastien Løvås", "Laurens van der Maaten", "Ada B. Lind Jr.", "Alpha & Beta Systems Ltd.", "A_b #c")
    kinds = [
        make(
            f"kind-{kind}", 2017, "Proc. of A & B 100% _x_", kind=kind, links=links, authors=authors,
            title=f"Kind {kind}",
            pages="1-2" if kind in ("conference", "workshop", "journal") else None,
        )
        for kind in KINDS
    ]  # fmt: skip
    titles = [make(f"title-{number}", title=title) for number, title in enumerate(TITLES)]
    return [*Library.open(HERE).query(), *kinds, *titles]


def run(folder: Path, *command: str) -> str:
    """Run a program that must succeed; return all that it says."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs("bibtex", "kpsewhich")
@pytest.mark.parametrize("style", ["plain", "alpha"])
def test_bibtex(tmp_path: Path, records: list[Entry], style: str) -> None:
    if not run(tmp_path, "kpsewhich", f"{style}.bst").strip():
        pytest.skip(f"not installed: {style}.bst")
    (tmp_path / "all.bib").write_text(dump(records, "bibtex"), encoding="utf-8")
    (tmp_path / "all.aux").write_text(f"\\relax\n\\citation{{*}}\n\\bibstyle{{{style}}}\n\\bibdata{{all}}\n")
    told = run(tmp_path, "bibtex", "all")
    assert "arning" not in told
    assert (tmp_path / "all.bbl").read_text(encoding="utf-8").count("\\bibitem") == len(records)


@needs("biber")
def test_biber(tmp_path: Path, records: list[Entry]) -> None:
    (tmp_path / "all.bib").write_text(dump(records, "biblatex"), encoding="utf-8")
    told = run(tmp_path, "biber", "--tool", "--validate-datamodel", "--output-file", "out.bib", "all.bib")
    assert "WARN" not in told
    assert "ERROR" not in told
    assert (tmp_path / "out.bib").read_text(encoding="utf-8").count("\n@") >= len(records) - 1


@needs("pandoc")
@pytest.mark.parametrize(("form", "name"), [("bibtex", "all.bib"), ("biblatex", "all.bib"), ("csl", "all.json")])
def test_pandoc(tmp_path: Path, records: list[Entry], form: str, name: str) -> None:
    (tmp_path / name).write_text(dump(records, form), encoding="utf-8")
    (tmp_path / "all.md").write_text("---\nnocite: '@*'\n---\n")
    told = run(
        tmp_path, "pandoc", "--citeproc", "--bibliography", name, "--fail-if-warnings", "-t", "plain", "--wrap=none",
        "-o", "all.txt", "all.md",
    )  # fmt: skip
    assert told == ""
    text = (tmp_path / "all.txt").read_text(encoding="utf-8")
    assert "XNOR-Net: ImageNet Classification" in text
    assert len([line for line in text.splitlines() if line.strip()]) >= len(records)


@needs("pdflatex", "bibtex", "kpsewhich")
@pytest.mark.slow
def test_latex_sets_the_library(tmp_path: Path) -> None:
    (tmp_path / "all.bib").write_text(dump(Library.open(HERE).query(), "bibtex"), encoding="utf-8")
    (tmp_path / "all.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\begin{document}\\nocite{*}"
        "\\bibliographystyle{plain}\\bibliography{all}\\end{document}\n"
    )
    for program in (("pdflatex", "-interaction=nonstopmode"), ("bibtex",), ("pdflatex", "-interaction=nonstopmode")):
        told = run(tmp_path, *program, "all")
        assert "\n!" not in told
    assert (tmp_path / "all.pdf").read_bytes().startswith(b"%PDF")
