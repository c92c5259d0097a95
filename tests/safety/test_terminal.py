"""No command prints what steers a terminal, wherever it comes from: arguments, names of files, contents of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.cli import main

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

EVIL = "\x1b[2J\x1b]0;pwned\x07\r\u202e\x9b31m"
BAD = set("\x1b\x07\r\u202e\x9b")
COMMANDS = [
    ["query", EVIL], ["query", "--author", EVIL], ["query", "--tag", EVIL], ["query", "--year", EVIL],
    ["query", "--sort", EVIL],
    ["query", "--text", EVIL], ["query", "--format", EVIL], ["show", EVIL], ["list", EVIL], ["stats", EVIL],
    ["validate", EVIL], ["fmt", EVIL], ["links", EVIL], ["import", EVIL], ["export", EVIL], ["tables", "--check", EVIL],
    ["tables", "--by", EVIL], ["run", EVIL], ["reproduce", EVIL], ["doctor", EVIL], ["doctor", "--explain", EVIL],
    ["doctor", "--list", EVIL], ["completion", EVIL], [EVIL], [f"--{EVIL}"], ["query", f"--{EVIL}"], ["help", EVIL],
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words).replace(EVIL, "EVIL"))
def test_arguments_are_shown_plainly(
    words: list[str], library: LibraryMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    place = [] if words[0] not in {"query", "show", "validate", "doctor"} else ["--root", str(library.root)]
    if words[0] in {"fmt", "links", "import", "export", "tables", "run", "reproduce", "list", "stats"}:
        place = ["--root", str(library.root)]
    assert main([*words, *place]) in {0, 1, 2}
    told = capsys.readouterr()
    assert not BAD & set(told.out + told.err), told.err


@pytest.mark.parametrize("option", ["--root", "--output"])
@pytest.mark.parametrize("command", ["query", "validate", "tables", "doctor"])
def test_folders_and_files_are_shown_plainly(
    command: str, option: str, library: LibraryMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = [] if option == "--root" else ["--root", str(library.root)]
    assert main([command, option, f"/nowhere/{EVIL}/x", *rest]) in {1, 2}
    told = capsys.readouterr()
    assert not BAD & set(told.out + told.err)


@pytest.mark.parametrize(
    "command",
    [["validate"], ["validate", "--format", "github"], ["fmt", "--check"], ["query"], ["stats"], ["list", "topics"],
     ["doctor"], ["tables"], ["build", "--pages-only"], ["show", "tiny-sign"]],
    ids=" ".join,
)  # fmt: skip
def test_names_and_contents_of_files_are_shown_plainly(
    command: list[str], library: LibraryMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    name = EVIL.replace("/", "")
    library.write(f"papers/2016/{name}.yaml", f"title: {EVIL}\n")
    library.write(f"papers/{name}/x.yaml", "a: b\n")
    library.write("papers/2016/escaped.yaml", 'title: "a\\e[2J\\a"\n"k\\e": b\n')
    library.write(f"papers/vocabulary/lists/{name}.yaml", "title: x\n")
    library.write("papers/vocabulary/venues.yaml", 'X:\n  name: "\\e[2J"\n  kinds: [journal]\n  description: "\\a"\n')
    assert main([*command, "--root", str(library.root)]) in {0, 1}
    told = capsys.readouterr()
    assert not BAD & set(told.out + told.err)


def test_a_source_is_shown_plainly(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    for form, text in {
        "bibtex": f"@article{{k, title={{A {EVIL} Title}}, author={{{EVIL}, Ada}}, year=2019}}\n@{EVIL}{{",
        "csl": f'[{{"title": "{EVIL.encode("unicode_escape").decode().replace(chr(92) + "x", chr(92) + "u00")} T"}}]',
        "ris": f"TY  - JOUR\nTI  - {EVIL}\nER  - \n",
        "markdown": f"- [{EVIL} of a Title](https://arxiv.org/abs/1901.00001)\n- {EVIL}\n",
    }.items():
        path = library.write("source", text)
        for shape in ("table", "json", "jsonl"):
            words = ["import", str(path), "--from", form, "--format", shape, "--verbose", "--root", str(library.root)]
            assert main(words) in {0, 1}
            told = capsys.readouterr()
            assert not BAD & set(told.out + told.err), (form, shape)
