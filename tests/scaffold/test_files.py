from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qkb.implementations import record_of
from qkb.scaffold import files

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
HOSTILE = '"""\nimport os\nos.system("x") # \\" {file} \\N{DASH} $$'


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("stub", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Path]:
    """A method and its tests, with the longest names."""
    record = "x" + "-long" * 12
    module = files.module_of(record)
    method, test = tmp_path / "reference_impls/post_training/method.py", tmp_path / "tests/test_method.py"
    method.parent.mkdir(parents=True)
    test.parent.mkdir()
    (method.parent / "__init__.py").write_text(files.family_text("post_training"), encoding="utf-8")
    method.write_text(files.method(record, "post_training", module, "Nets " * 60), encoding="utf-8")
    test.write_text(files.test("post_training", module), encoding="utf-8")
    return method, test


def test_they_keep_the_house_style(written: tuple[Path, Path]) -> None:
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--config", str(ROOT / "pyproject.toml"), *map(str, written)],
            cwd=written[1].parents[1], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_method_fails_until_it_is_written(written: tuple[Path, Path]) -> None:
    module = loaded(written[0])
    with pytest.raises(ValueError, match="is not written yet: replace this by pure functions"):
        module.reproduce(0)
    assert record_of(written[0]) == module.RECORD


def test_all_tests_fail_until_they_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "reference_impls" / "binary"
    folder.mkdir(parents=True)
    for package in (folder, folder.parent):  # ahead of an installed reference_impls
        (package / "__init__.py").touch()
    (folder / "fab.py").write_text('UNWRITTEN = "write it"\n', encoding="utf-8")
    (tmp_path / "test_fab.py").write_text(files.test("binary", "fab"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", "test_fab.py"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "5 failed" in done.stdout, done.stdout + done.stderr
    assert "tests/reference_impls/binary/test_fab.py: walk all levels" in done.stdout
    assert "write it" in done.stdout


def test_a_title_cannot_leave_the_docstring() -> None:
    source = files.method("fab", "binary", "fab", HOSTILE)
    plain = files.method("fab", "binary", "fab", "A title")
    assert [type(node) for node in ast.parse(source).body] == [type(node) for node in ast.parse(plain).body]
    assert ast.unparse(ast.parse(source).body[1:]) == ast.unparse(ast.parse(plain).body[1:])  # type: ignore[arg-type]


def test_modules() -> None:
    assert files.module_of("class") == "class_method"
    assert all(files.module_of(name).isidentifier() for name in ("8-bit", "a-b", "match", "x" * 64))
