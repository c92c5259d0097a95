"""What README and CONTRIBUTING tell a stranger to type works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FENCES = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
LINES = [line.split("  #")[0].strip() for fence in FENCES for line in fence.splitlines()]
QUICK = [line for line in LINES if re.match(r"qkb (query|show|stats|list)\b", line)]


@pytest.mark.parametrize("line", QUICK)
def test_a_command_of_the_readme_answers(line: str) -> None:
    command = [sys.executable, "-m", "qkb", *shlex.split(line)[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_readme_has_commands_to_test() -> None:
    assert len(QUICK) >= 4
    assert [line for line in LINES if line.startswith("make ")] == ["make site", "make test"]


def test_the_python_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    code = example + "\nassert len(papers) > 5, papers\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", [README, CONTRIBUTING])
def test_every_make_target_that_is_named_exists(text: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b(?=[`\s])", text))
    assert named
    assert named - {"sure"} <= targets


@pytest.mark.parametrize("text", [README, CONTRIBUTING])
def test_every_link_into_the_repository_resolves(text: str) -> None:
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if not t.startswith("http")]
    assert [t for t in targets if not (ROOT / t).exists()] == []
