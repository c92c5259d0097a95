"""Fuzz what reads strangers' files: the YAML reader, the model and the rules, the layout, the importers.

    python benchmarks/fuzz.py --seconds 60 yaml layout

Guided by coverage where atheris is installed (`pip install atheris`, in an environment of its own); otherwise the seeds
are mutated at random, which finds less. A fault is an exception, or a broken promise: a layout that loses something, a
message of several lines, a draft that cannot be read back. The input that caused it is written to `fuzz-<target>.bin`
in the current folder, and the exit code is not 0.
"""
# Imports stand in functions: atheris has to be there before them, to see which branches an input takes.
# ruff: noqa: PLC0415

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 20_000
FORMS = ("bibtex", "csl", "ris", "markdown")


class BrokenPromiseError(AssertionError):
    """The code under test did not raise, but did not do what it promises either."""


def promise(kept: object, what: str) -> None:
    """Raise where a promise is not kept."""
    if not kept:
        raise BrokenPromiseError(what)


def fuzz_yaml(data: bytes) -> None:
    """Nothing raises; every fault is one plain line; the fast and the slow reader agree on what they accept."""
    from qkb.records.yaml_lines import parse

    fast, slow = parse(data, "papers/2016/x.yaml"), parse(data, "papers/2016/x.yaml", pure=True)
    for parsed in (fast, slow):
        lines = parsed.text.count("\n") + 2
        for fault in (*parsed.faults, *parsed.doubts):
            promise(str(fault).isprintable(), "a message can steer a terminal")
            promise(1 <= fault.line <= max(lines, data.count(b"\n") + 2), "a fault lies outside of the file")
        promise(parsed.data is not None or parsed.faults, "a file is refused without a fault")
    if not fast.faults and not slow.faults:
        promise(fast.data == slow.data, "the two readers disagree")


def fuzz_record(data: bytes) -> None:
    """A file is a record or has faults; the rules look at it without raising."""
    from qkb.records import rules
    from qkb.records.drafts import Draft, mend
    from qkb.records.fit import fit
    from qkb.records.model import Record
    from qkb.records.yaml_lines import parse

    parsed = parse(data, "papers/2016/x.yaml")
    if parsed.data is None:
        return
    value = {**parsed.data, "id": "x", "year": 2016}
    record, faults = fit(value, Record, file="papers/2016/x.yaml", parsed=parsed)
    promise(record is not None or faults or parsed.faults, "a record is refused without a fault")
    promise(all(str(fault).isprintable() for fault in faults), "a message can steer a terminal")
    mended = record or mend(value, tuple(fault.path for fault in faults if fault.path))
    if mended is not None:
        list(rules.of_record(Draft("papers/2016/x.yaml", mended, parsed.lines)))


def fuzz_layout(data: bytes) -> None:
    """A layout says the same as the file, is its own layout, or is refused as a fault."""
    from qkb.records.faults import FaultsError
    from qkb.records.layout import lay_out, same
    from qkb.records.yaml_lines import parse

    parsed = parse(data, "x.yaml")
    try:
        text = lay_out(parsed, "x.yaml")
    except FaultsError as error:
        promise(error.faults, "a layout is refused without a fault")
        return
    again = parse(text.encode(), "x.yaml")
    promise(not again.faults and not again.doubts, "a layout has faults")
    promise(same(parsed.data, again.data), "a layout says something else")
    promise(lay_out(again, "x.yaml") == text, "a layout is not its own layout")


def fuzz_import(data: bytes) -> None:
    """A source gives works, rows that are not understood, or a fault; drafts of works can be read back."""
    from qkb.imports import draft, sources
    from qkb.records.faults import FaultsError
    from qkb.records.vocabulary import Vocabulary
    from qkb.records.yaml_lines import parse

    form = FORMS[data[0] % len(FORMS)] if data else FORMS[0]
    try:
        reading = sources.read_text(data[1:].decode("utf-8", "replace"), form)
    except FaultsError:
        return
    nothing = Vocabulary({}, {}, {}, {})
    for row in reading.rows:
        promise(row.work is not None or row.problem, "a row is not understood, and nobody says why")
        if row.work is not None:
            text = draft.text(draft.fields(row.work, nothing), "papers/2016/x.yaml", f"x:{row.line}: {row.text}")
            parsed = parse(text.encode(), "x.yaml")
            promise(parsed.data is not None and not parsed.faults, "a draft cannot be read back")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "yaml": fuzz_yaml,
    "record": fuzz_record,
    "layout": fuzz_layout,
    "import": fuzz_import,
}
SOURCES = (
    '@article{a1, title={A {Net} of B\\"its}, author={Lind, Ada and Bo Ruiz}, year=2016, eprint={1603.05279}}\n',
    '[{"title": "A Net", "author": [{"family": "Lind", "given": "Ada"}], "issued": {"date-parts": [[2016]]}}]',
    "TY  - JOUR\nTI  - A Net\nAU  - Lind, Ada\nPY  - 2016\nER  - \n",
    (
        "# 2016\n- [A Net of Bits](https://arxiv.org/abs/1603.05279) **[`bnn`]** ([code](https://github.com/a/b))\n"
        "\n| Title | Venue |\n| --- | --- |\n| A Net of Bits | ICML 2016 |\n"
    ),
)


def seeds(target: str) -> list[bytes]:
    """Return inputs to begin with: records of the library, or small sources of every format."""
    if target == "import":
        return [bytes([number]) + text.encode() for number, text in enumerate(SOURCES)]
    records = sorted(ROOT.glob("papers/20*/*.yaml"))[::6]
    lists = sorted(ROOT.glob("papers/vocabulary/lists/*.yaml"))[:1]
    return [path.read_bytes()[:LONGEST] for path in (*records, *lists)] or [b"title: a\n"]


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Return an input with a few random changes: the way without atheris."""
    tokens = (
        b"\n",
        b": ",
        b"- ",
        b"  ",
        b'"',
        b"'",
        b"[",
        b"{",
        b"&a ",
        b"*a",
        b"!x ",
        b"|\n",
        b"#",
        b"\\",
        b"\0",
        b"\xff",
    )
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(4):
            case 0:
                del changed[at : at + chance.randint(1, 40)]
            case 1:
                changed[at:at] = chance.choice(tokens)
            case 2:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case _:
                start = chance.randrange(len(changed) + 1)
                changed[at:at] = changed[start : start + chance.randint(1, 200)]
    return bytes(changed[:LONGEST])


def blind(target: str, seconds: float) -> int:
    """Try mutated seeds for so many seconds; return how many were tried."""
    chance = random.Random(target)  # noqa: S311 (no secret)
    begin = seeds(target)
    tried = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        data = mutate(chance.choice(begin), chance)
        try:
            TARGETS[target](data)
        except Exception:
            Path(f"fuzz-{target}.bin").write_bytes(data)
            raise
        tried += 1
    return tried


def guided(target: str, seconds: float) -> None:
    """Let atheris search in this process, which it ends."""
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

    with atheris.instrument_imports(include=["qkb", "yaml"]):
        TARGETS[target](b"a: b\n")  # imports what it needs
    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(seeds(target)):
            Path(corpus, str(number)).write_bytes(data)
        options = [f"-max_total_time={seconds:.0f}", f"-max_len={LONGEST}", "-rss_limit_mb=4096", "-timeout=20"]
        options += [f"-exact_artifact_path=fuzz-{target}.bin", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *options, corpus], TARGETS[target])
        atheris.Fuzz()


def main() -> int:
    """Fuzz the targets one after the other; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each target (default: 30)")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # one target, in this process
    parser.add_argument("--blind", action="store_true", help="do without atheris")
    args = parser.parse_args()
    wrong = [name for name in args.targets if name not in TARGETS]
    if wrong:
        parser.error(f"there is no target {wrong[0]!r}; there are {', '.join(TARGETS)}")
    if args.here:
        guided(args.targets[0], args.seconds)
        return 0
    has_atheris = False
    with contextlib.suppress(ImportError):
        import atheris  # noqa: F401  # type: ignore[import-not-found,import-untyped,unused-ignore]

        has_atheris = not args.blind
    worst = 0
    for target in args.targets or TARGETS:
        if has_atheris:
            command = [sys.executable, __file__, target, "--seconds", str(args.seconds), "--here"]
            worst = max(worst, abs(subprocess.run(command, check=False).returncode))
        else:
            print(f"{target}: {blind(target, args.seconds)} inputs, no fault")
    return worst


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
