from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import qkb
from qkb import cli
from qkb.cli import COMMANDS, command, main, parser_of, summary, whole_parser
from qkb.errors import UsageError
from qkb.paths import NoLibraryError
from qkb.records.faults import Fault, FaultsError

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

HERE = Path(__file__).resolve().parents[1]


def process(*words: str, cwd: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-m", "qkb", *words]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, **more)


def test_every_module_is_a_command() -> None:
    folder = Path(cli.__file__).parent / "commands"
    assert {path.stem.rstrip("_") for path in folder.glob("*.py")} - {"__init"} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_manual(name: str) -> None:
    module: Any = command(name)
    assert module.__doc__ is not None
    assert summary(name) == module.__doc__.partition("\n")[0]
    assert summary(name).endswith(".")
    assert callable(module.run)
    text = parser_of(name).format_help()
    assert "\nExamples:\n  qkb " in text
    assert summary(name).split()[0] in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    actions = parser_of(name)._actions
    assert all(action.help for action in actions)
    options = {option for action in actions for option in action.option_strings}
    if name != "completion":
        assert "--root" in options


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["-h"], ["help"]):
        assert main(words) == 0
        printed, told = capsys.readouterr()
        assert told == ""
        for name in COMMANDS:
            assert f"\n  {name} " in printed
            assert summary(name) in printed


@pytest.mark.parametrize("words", [["query", "--help"], ["help", "query"]])
def test_help_of_a_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: qkb query")
    assert "--tag TAG" in printed
    assert "Examples:\n  qkb query --tag bnn --year 2017\n" in printed


@pytest.mark.parametrize("columns", ["60", "80", "300"])
def test_manuals_fit_the_terminal(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = parser_of("query").format_help().partition("\nExamples:")[0]
    assert max(map(len, text.splitlines())) <= min(int(columns), 100)


@pytest.mark.parametrize("columns", ["", "0", "wide", "-5"])
def test_a_strange_width_is_not_believed(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert parser_of("query").format_help()


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert main(["-V"]) == 0
    assert capsys.readouterr().out == f"qkb {qkb.__version__}\n" * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["qurey"], "qkb: there is no command 'qurey'. Did you mean 'query'?\n"),
        (["zzzz"], "qkb: there is no command 'zzzz'. qkb --help lists them all.\n"),
        (["--root", "x"], "qkb: --root stands before the command; write qkb COMMAND [OPTION...], or qkb --help\n"),
        ([""], "qkb: there is no command ''. qkb --help lists them all.\n"),
    ],
)
def test_unknown_commands(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr() == ("", message)


def test_an_argument_that_is_no_text(library: LibraryMaker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "--tag", "\udcff", "--root", str(library.root)]) == 2
    assert capsys.readouterr() == ("", "qkb query: '\\udcff' is no valid text\n")


def test_plain_qkb_prints_help(library: LibraryMaker, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.chdir(library.root)
    assert main([]) == 0
    printed, told = capsys.readouterr()
    assert printed.startswith("usage: qkb COMMAND")
    assert told == ""


def test_plain_qkb_without_records_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    printed, told = capsys.readouterr()
    assert printed.startswith("usage: qkb COMMAND")
    assert told.startswith("qkb: no library in ")
    assert "--root DIR" in told


@pytest.mark.parametrize("name", ["query", "show", "list", "stats"])
def test_no_library(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = {"show": ["x"], "list": ["tags"]}.get(name, [])
    assert main([name, *words, "--root", str(tmp_path)]) == 2
    printed, told = capsys.readouterr()
    assert printed == ""
    assert told.startswith(f"qkb {name}: no library in {tmp_path}")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UsageError("write it otherwise"), 2, "qkb query: write it otherwise\n"),
        (NoLibraryError("no library"), 2, "qkb query: no library\n"),
        (FaultsError([Fault("a.yaml", 3, "title", "is missing")]), 1, "a.yaml:3: title: is missing\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "qkb query: Permission denied: /x\n"),
        (OSError("odd"), 1, "qkb query: odd\n"),
        (KeyboardInterrupt(), 130, "qkb: interrupted\n"),
        (
            ModuleNotFoundError("No module named 'yaml'", name="yaml"),
            1,
            "qkb query: the package yaml is missing: install qkb again, with its dependencies\n",
        ),
    ],
)
def test_errors_are_messages(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> int:
        raise error

    monkeypatch.setattr("qkb.commands.query.main", fail)
    assert main(["query"]) == code
    assert capsys.readouterr() == ("", message)


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr("qkb.commands.query.main", fail)
    with pytest.raises(ZeroDivisionError):
        main(["query"])


def test_the_reader_may_stop_reading(library: LibraryMaker) -> None:
    for number in range(300):
        library.record(f"many-{number}", title="A Long Title " * 20 + str(number))
    command = f'"{sys.executable}" -m qkb query --format json --root "{library.root}"; echo "code $?" >&2'
    # Without a buffer, Python takes half a write for a whole one and notices nothing.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        ["sh", "-c", f"{{ {command}; }} | head -1"], cwd=HERE, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[\n"
    assert done.stderr == "code 141\n"


def test_a_full_disk_is_a_message(library: LibraryMaker) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "qkb", "query", "--root", str(library.root)]
        done = subprocess.run(command, cwd=HERE, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "qkb query: No space left on device\n")


def test_an_encoding_without_the_letters_is_no_failure(library: LibraryMaker) -> None:
    library.record("accented", title="Løvås – 量子")
    env = {**os.environ, "PYTHONPATH": str(HERE), "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "qkb", "query", "--id", "accented"]
    done = subprocess.run(command, cwd=library.root, env=env, capture_output=True, check=True)
    assert "Løvås \\u2013 \\u91cf\\u5b50" in done.stdout.decode("latin-1")


def test_a_device_is_written_to_not_replaced(library: LibraryMaker) -> None:
    before = Path(os.devnull).stat().st_ino
    assert main(["query", "--output", os.devnull, "--root", str(library.root)]) == 0
    assert Path(os.devnull).stat().st_ino == before


def test_a_link_is_followed_when_its_file_is_replaced(library: LibraryMaker) -> None:
    link = library.root / "link"
    link.symlink_to("real")
    assert main(["query", "--format", "ids", "--output", str(link), "--root", str(library.root)]) == 0
    assert link.is_symlink()
    assert (library.root / "real").read_text().startswith("tiny-sign\n")


def test_the_library_is_found_from_below(library: LibraryMaker) -> None:
    done = process("query", "--format", "ids", cwd=library.papers / "2016")
    assert (done.returncode, done.stdout, done.stderr) == (0, "tiny-sign\nscaled-sign\nwide-steps\n", "")


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        f"import os, sys; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r});"
        "from qkb.cli import main; sys.exit(main(['query']))"
    )
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "qkb query: the current folder does not exist any more; go to another one\n"


def test_the_whole_parser_knows_every_command() -> None:
    (commands,) = [action for action in whole_parser()._actions if action.dest == "command"]
    assert commands.choices is not None
    assert tuple(commands.choices) == COMMANDS


def test_a_query_imports_one_command(library: LibraryMaker) -> None:
    code = (
        "import sys; from qkb.cli import main; code = main(['query', '--quiet']);"
        "print(*[name for name in sys.modules if name.startswith('qkb.commands.')], file=sys.stderr); sys.exit(code)"
    )
    env = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=library.root, env=env, capture_output=True, text=True, check=True
    )
    assert done.stderr == "qkb.commands.query\n"
