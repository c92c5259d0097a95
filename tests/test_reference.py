from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qkb import reference
from qkb.cli import COMMANDS, parser_of

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

PAGE = Path(__file__).resolve().parents[1] / "site" / reference.PAGE


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference.page(), "run python -m qkb.reference"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_on_the_page(name: str) -> None:
    section = reference.section(name)
    assert section.startswith(f"\n## qkb {name}\n")
    for action in parser_of(name)._actions:
        for option in action.option_strings or [str(action.metavar or action.dest)]:
            assert f"`{option}" in section
    assert f"```sh\nqkb {name}" in section


def test_write_and_check(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    page = library.write("site/pages/cli.md", "old")
    assert reference.main(["--check", "--root", str(library.root)]) == 1
    assert capsys.readouterr().err == f"{page}: differs from the code; run python -m qkb.reference\n"
    assert reference.main(["--root", str(library.root)]) == 0
    assert reference.main(["--check", "--root", str(library.root)]) == 0
    assert page.read_text(encoding="utf-8") == reference.page()


def test_the_page_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = reference.page()
    monkeypatch.setenv("COLUMNS", "40")
    assert reference.page() == wide
