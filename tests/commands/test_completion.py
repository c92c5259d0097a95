from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import shtab

from qkb.cli import COMMANDS, main
from qkb.commands import completion

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker


def test_the_shells_are_those_of_the_library() -> None:
    assert set(completion.SHELLS) == set(shtab.SUPPORTED_SHELLS)


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    printed, told = capsys.readouterr()
    assert told == ""
    assert printed.endswith("\n")
    for name in COMMANDS:
        assert name in printed
    for what in ("tags", "topics", "venues", "lists", "records"):
        assert f"qkb list {what} --format ids" in printed


def test_a_script_can_go_to_a_file(tmp_path: Path) -> None:
    assert main(["completion", "zsh", "--output", str(tmp_path / "_qkb")]) == 0
    assert (tmp_path / "_qkb").read_text().startswith("#compdef qkb")


def test_an_unknown_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "cmd"]) == 2
    assert "invalid choice: 'cmd'" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["qu"], {"query"}),
        (["query", "--tag", ""], {"qnn", "bnn", "hardware", "other"}),
        (["query", "--topic", "t"], {"ternary"}),
        (["query", "--has", "off"], {"official-code"}),
        (["query", "--format", "js"], {"json", "jsonl"}),
        (["query", "--lim"], {"--limit"}),
        (["show", "wi"], {"wide-steps"}),
        (["list", "wa"], {"wanted"}),
    ],
)
def test_bash_completes(library: LibraryMaker, tmp_path: Path, words: list[str], expected: set[str]) -> None:
    (tmp_path / "script").write_text(completion.run("bash"))
    program = tmp_path / "bin" / "qkb"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m qkb "$@"\n')
    program.chmod(0o755)
    typed = " ".join(f"'{word}'" for word in ("qkb", *words))
    code = f'. "{tmp_path}/script"; COMP_WORDS=({typed}); COMP_CWORD={len(words)}; _shtab_qkb; echo "${{COMPREPLY[@]}}"'
    here = Path(__file__).resolve().parents[2]
    env = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(here)}
    done = subprocess.run(
        ["bash", "--norc", "-c", code], cwd=library.root, env=env, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == expected
