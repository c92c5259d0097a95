"""`python -m reference_impls.<family>.<method>`: run one method and print what the paper says and what we measured."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

from reference_impls.kit.catalogue import HOME, Method
from reference_impls.kit.measure import measure
from reference_impls.kit.report import ProgressLine, report
from reference_impls.kit.results import to_json


def paper_says(record: str, papers: Path = HOME.parent / "papers") -> dict[str, str]:
    """Return what a record's claims say, by claim id; nothing where there are no records beside the methods."""
    import yaml  # noqa: PLC0415 (a lifted-out method needs no YAML)

    for path in papers.glob(f"[0-9]*/{record}.yaml"):
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {claim["id"]: claim["says"] for claim in fields.get("claims", [])}
    return {}


def main(name: str = "__main__", argv: list[str] | None = None) -> int:
    """Run the method in the module `name` from the command line; returns the exit code."""
    method = cast("Method", sys.modules[name])
    parser = argparse.ArgumentParser(description=(method.__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--seed", type=int, action="append", help="a seed to run instead of all; may be repeated")
    parser.add_argument("--json", action="store_true", help="print the result file's JSON instead of tables")
    options = parser.parse_args(argv)
    result = measure(method, options.seed, ProgressLine(method.RECORD))
    print(to_json(result).rstrip() if options.json else report(result, paper_says(method.RECORD)))
    return 0
