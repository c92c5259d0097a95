"""Mutation-test one module with its unit tests: `python tests/mutants.py binary/xnor_net [--show]`.

Works on a copy of the tree in a temporary folder with mutmut, whose mutants run in forked processes, so that torch
is imported once. The slow tests are left out: a mutant must be caught by a unit test. Prints the share of mutants
killed and the survivors; `--show` prints their diffs. Functions with decorators are not mutated (a limit of
mutmut), which is one reason why methods keep their mathematics in plain functions.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = """\
[tool.mutmut]
source_paths = ["reference_impls/"]
only_mutate = ["reference_impls/{name}.py"]
also_copy = ["papers", "tests", "qkb"]
pytest_add_cli_args_test_selection = ["tests/reference_impls/{family}/test_{module}.py"]
pytest_add_cli_args = ["-m", "not slow", "-q", "-x", "--import-mode=importlib", "-p", "no:randomly"]
track_dependencies = false
use_git_change_detection = false

[tool.pytest.ini_options]
markers = ["slow: x", "browser: x", "wheel: x"]
"""


def mutmut(folder: Path, *arguments: str) -> str:
    """Run mutmut in a folder and return what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    command = [sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)
    return done.stdout + done.stderr


def main() -> int:
    """Run from the command line; the exit code says whether enough mutants were killed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="family/module below reference_impls")
    parser.add_argument("--show", action="store_true", help="print the diffs of the survivors")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--least", type=float, default=85.0, help="percent that must be killed")
    options = parser.parse_args()
    family, module = options.name.split("/")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for part in ("reference_impls", "papers", "tests", "qkb"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.tmp"))
        (folder / "pyproject.toml").write_text(CONFIG.format(name=options.name, family=family, module=module))
        log = mutmut(folder, "run", "--max-children", str(options.jobs))
        rows = re.findall(r"^\s*(\S+__mutmut_\d+): (.+)$", mutmut(folder, "results", "--all", "true"), re.MULTILINE)
        if not rows or any(state == "not checked" for _, state in rows):
            print(log[-4000:], file=sys.stderr)
            return 2
        counts = Counter(state for _, state in rows)
        survivors = [name for name, state in rows if state not in ("killed", "timeout", "caught by type check")]
        for name in survivors:
            print(name, dict(rows)[name])
            if options.show:
                print(mutmut(folder, "show", name))
    share = 100 * (len(rows) - len(survivors)) / len(rows)
    print(f"{options.name}: {share:.1f} % of {len(rows)} mutants killed {dict(counts)}")
    return 0 if share >= options.least else 1


if __name__ == "__main__":
    raise SystemExit(main())
