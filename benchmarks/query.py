"""How long `qkb query` takes, beside ripgrep over the same files and Python doing nothing.

    python benchmarks/query.py --records 10000 --rounds 40

Makes so many records in a temporary folder, builds the index once, checks that qkb and ripgrep find the same records,
and then times whole processes in turn (A B A B ...), so that whatever else the machine does meets both alike. The file
cache is warm. Nothing here is a test: times depend on the machine, so they are printed, never asserted.
"""

from __future__ import annotations

import argparse
import compileall
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
YEARS = range(2010, 2027)
RARE = "straightthroughx"
SUBJECTS = (
    "the quantizer", "each filter", "a small network", "the teacher", "the straight-through gradient", "a binary layer",
    "the activation range", "every channel", "the accumulator", "the codebook", "a scaling factor", "the optimizer",
    "batch normalization", "the weight distribution", "a ternary mask", "the lookup table", "the systolic array",
)  # fmt: skip
VERBS = (
    "replaces", "approximates", "clips", "learns", "keeps", "shares", "rounds", "bounds", "reduces", "reorders",
    "initialises", "calibrates", "freezes", "anneals", "estimates", "regularises", "absorbs", "projects",
)  # fmt: skip
OBJECTS = (
    "the full-precision weights", "the dot product by XNOR and popcount", "the rounding error", "its own step size",
    "the first and last layers", "outliers of the activations", "the variance of the gradient", "memory traffic",
    "the loss surface around a minimum", "integer thresholds", "the training schedule", "two sets of statistics",
    "a sum of binary bases", "the Hessian's trace", "unused levels", "the sign of every weight", "powers of two",
)  # fmt: skip
ENDINGS = (
    "without further training", "at four bits and below", "in one pass over the data", "on small devices",
    "as long as the learning rate decays", "for each group of channels", "which helps deep networks most",
    "with an error that the paper bounds", "at the cost of a longer schedule", "in the backward pass only",
    "and the gain grows with depth", "when the batch is small", "unless the input is sparse",
)  # fmt: skip
VENUES = {"conference": ("CVPR", "NeurIPS", "ICLR", "ICML", "ECCV"), "preprint": ("arXiv",)}


@dataclass(frozen=True)
class Contestant:
    """A command that is timed.

    Attributes:
        name: what the report calls it.
        command: the process, or a line for the shell.
        cwd: where it runs.
    """

    name: str
    command: Sequence[str]
    cwd: Path


def generate(root: Path, count: int, seed: int = 7) -> None:
    """Write a library of so many valid records with about a kilobyte of prose each."""
    draw = random.Random(seed)  # noqa: S311 (made-up records, no secrets)
    vocabulary = root / "papers" / "vocabulary"
    shutil.copytree(ROOT / "papers" / "vocabulary", vocabulary, ignore=shutil.ignore_patterns("lists"))
    topics = [line[:-1] for line in (vocabulary / "topics.yaml").read_text().splitlines() if line[:1].isalpha()]
    for number in range(count):
        year = draw.choice(YEARS)
        folder = root / "papers" / str(year)
        folder.mkdir(exist_ok=True)
        (folder / f"made-up-{number:06d}.yaml").write_text(record(draw, topics, number), encoding="utf-8")


def record(draw: random.Random, topics: Sequence[str], number: int) -> str:
    """Return the text of a record in the layout of the real ones."""
    kind = draw.choice(list(VENUES))
    tags = sorted(draw.sample(["qnn", "bnn", "hardware", "other"], draw.choice([1, 1, 1, 2])))
    notes = "\n".join(
        f"  {line}" for line in wrapped(prose(draw, 7) + (f" It says {RARE}." if number % 200 == 0 else ""))
    )
    people = [f"{draw.choice('ABCDEFGH')}nna Author{draw.randrange(2000)}" for _ in range(draw.randint(2, 6))]
    return (
        "# yaml-language-server: $schema=../schema.json\n"
        f'title: "Made-Up Network {number}: {sentence(draw)[:-1]}"\n'
        f"authors: [{', '.join(dict.fromkeys(people))}]\n"
        f"venue: {draw.choice(VENUES[kind])}\n"
        f"kind: {kind}\n"
        f"tags: [{', '.join(tags)}]\n"
        f"topics: [{', '.join(draw.sample(topics, 3))}]\n"
        f"bits: {{weights: {draw.randint(1, 8)}, activations: {draw.randint(1, 8)}}}\n"
        f"links: {{doi: 10.5555/made-up.{number}}}\n"
        "code:\n"
        f'  - {{url: "https://code.example/made-up/{number}", official: true, framework: pytorch}}\n'
        "implementation: wanted\n"
        "claims:\n"
        "  - id: made-up-claim\n"
        f"    says: {sentence(draw)[:-1]}\n"
        "    where: Sec. 3\n"
        f"notes: |\n{notes}\n"
    )


def sentence(draw: random.Random) -> str:
    """Return a sentence of about ninety characters."""
    words = (draw.choice(part) for part in (SUBJECTS, VERBS, OBJECTS, ENDINGS))
    return " ".join(words).capitalize() + "."


def prose(draw: random.Random, sentences: int) -> str:
    """Return so many long sentences."""
    return " ".join(f"{sentence(draw)[:-1]}, while {sentence(draw).lower()}" for _ in range(sentences))


def wrapped(text: str, width: int = 110) -> Iterator[str]:
    """Yield text in lines."""
    line = ""
    for word in text.split():
        if len(line) + len(word) >= width:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line


def once(contestant: Contestant) -> tuple[float, float]:
    """Run a process; return its time and the processor time of all that it started, in milliseconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(contestant.command, cwd=contestant.cwd, stdout=subprocess.DEVNULL, check=True)
    elapsed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * elapsed, 1000 * used


def duel(first: Contestant, second: Contestant, rounds: int) -> None:
    """Time two processes in turn and print their medians and their ratio."""
    times: dict[str, list[tuple[float, float]]] = {first.name: [], second.name: []}
    for _ in range(3):
        once(first), once(second)
    for _ in range(rounds):
        for contestant in (first, second):
            times[contestant.name].append(once(contestant))
    middle = {name: statistics.median(elapsed for elapsed, _ in runs) for name, runs in times.items()}
    ratios = [a / b for (a, _), (b, _) in zip(*times.values(), strict=True)]
    for name, runs in times.items():
        print(
            f"  {name:38} median {middle[name]:7.1f} ms   fastest {min(runs)[0]:7.1f} ms"
            f"   processor {statistics.median(used for _, used in runs):7.1f} ms"
        )
    low, _, high = statistics.quantiles(ratios, n=4)
    print(
        f"  ratio of medians {middle[first.name] / middle[second.name]:.2f};"
        f" of pairs: median {statistics.median(ratios):.2f}, quartiles {low:.2f} to {high:.2f}\n"
    )


def lines(command: Sequence[str], cwd: Path) -> set[str]:
    """Return the file stems, or ids, that a process prints."""
    printed = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout
    return {Path(line).stem for line in printed.split()}


def compare(root: Path, qkb: Sequence[str], rounds: int) -> None:
    """Run all comparisons in one library."""
    tagged = r"rg -l '^tags: \[.*\bbnn\b' papers"
    questions = (
        ("--tag bnn --year 2017", f"{tagged} | rg /2017/"),
        ("--tag bnn --venue NeurIPS", f"{tagged} -0 | xargs -0 rg -lx 'venue: NeurIPS'"),
        (f"--text {RARE}", f"rg -lw {RARE} papers"),
    )
    for options, pipeline in questions:
        shell = ("sh", "-c", pipeline)
        query = (*qkb, "query", *options.split(), "--format", "ids")
        found, expected = lines(query, root), lines(shell, root)
        if found != expected:
            raise SystemExit(f"{options}: qkb finds {len(found)} records, ripgrep {len(expected)}")
        print(f"{options}: {len(found)} records\n  {pipeline}")
        table = Contestant(f"qkb query {options}", (*qkb, "query", *options.split()), root)
        duel(table, Contestant("ripgrep", shell, root), rounds)
    print("for scale: one folder only, which no other question allows")
    one_folder = Contestant("ripgrep in papers/2017", ("sh", "-c", tagged + "/2017"), root)
    duel(Contestant("python -c pass", (python_of(qkb), "-c", "pass"), root), one_folder, rounds)


def python_of(qkb: Sequence[str]) -> str:
    """Return the Python that the command runs in."""
    first = Path(qkb[0]).read_bytes().partition(b"\n")[0]
    return first[2:].decode().strip() if first.startswith(b"#!") else qkb[0]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10000, metavar="N", help="how many (default: 10000)")
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="pairs of runs (default: 40)")
    parser.add_argument("--qkb", metavar="FILE", help="the qkb script to time (default: the one beside this Python)")
    parser.add_argument(
        "--keep", metavar="DIR", help="make the records here, or use those that are here, and keep them"
    )
    args = parser.parse_args()
    if shutil.which("rg") is None:
        raise SystemExit("ripgrep (rg) is needed for the comparison")
    beside = Path(sys.executable).parent / "qkb"
    qkb = [args.qkb] if args.qkb else [str(beside)] if beside.is_file() else [sys.executable, "-m", "qkb"]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # it would compile every module again in every run
    compileall.compile_dir(str(ROOT / "qkb"), quiet=1)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(args.keep) if args.keep else Path(temporary) / "library"
        if not (root / "papers").is_dir():
            generate(root, args.records)
        print(f"{args.records:,} records, {args.rounds} pairs, load {os.getloadavg()[0]:.1f}; qkb is {' '.join(qkb)}")
        start = time.perf_counter()
        subprocess.run([*qkb, "query", "--limit", "1"], cwd=root, check=True, stdout=subprocess.DEVNULL)
        print(f"first query, index made: {time.perf_counter() - start:.1f} s")
        time.sleep(2.5)  # what is younger than two seconds is read again
        once(Contestant("second query", (*qkb, "query", "--limit", "1"), root))
        edited = next((root / "papers" / "2017").iterdir())
        edited.write_text(edited.read_text(encoding="utf-8") + "  One more line.\n", encoding="utf-8")
        elapsed, _ = once(Contestant("after an edit", (*qkb, "query", "--limit", "1"), root))
        print(f"query after one edit: {elapsed:.0f} ms\n")
        time.sleep(2.5)
        once(Contestant("settled", (*qkb, "query", "--limit", "1"), root))
        compare(root, qkb, args.rounds)
        print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
