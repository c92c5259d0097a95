"""Checks on the house: faults, layout, unused terms, generated files, implementations and their results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import qkb
from qkb.doctor.finding import Finding, Fix, Library
from qkb.doctor.stated import stated
from qkb.implementations import WANTED, orphans
from qkb.records.faults import FaultsError
from qkb.records.layout import lay_out
from qkb.records.schema import FILE, check_schema, schema_text
from qkb.records.vocabulary import FOLDER, load_vocabulary
from qkb.records.yaml_lines import line_of, parse, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qkb.records.model import Record
    from reference_impls.kit.results import Outcome

REFERENCE = "site/pages/cli.md"


def faults(library: Library) -> Iterator[Finding]:
    """What `qkb validate` reports.

    It stands here too, because the other checks pass over what they cannot read. Each message says what to do.
    """
    for fault in library.papers.faults:
        yield library.of_fault("faults", fault)


def layout(library: Library) -> Iterator[Finding]:
    """A record that is not in the canonical layout.

    --fix lays it out, as `qkb fmt` does; comments stay.
    """
    for file in library.papers.files.values():
        parsed = read(library.place.root / file, file)
        try:
            same = lay_out(parsed, file) == parsed.text
        except FaultsError:  # the check `faults` tells why
            continue
        if not same:
            fix = Fix("lay it out", file, lambda source, file=file: lay_out(parse(source, file), file))  # type: ignore[misc]
            yield Finding(file, 1, "", "is not in the canonical layout", "layout", fix)


def vocabulary(library: Library) -> Iterator[Finding]:
    """A topic or venue that no record uses.

    Nothing is mended: a term may wait for its first record. Remove it from its file if it does not.
    """
    records = library.papers.records.values()
    used = {
        "topics": {topic for record in records for topic in record.topics},
        "venues": {record.venue for record in records},
    }
    words = library.papers.vocabulary
    lines = load_vocabulary(library.place).lines
    for part, terms in (("topics", list(words.topics)), ("venues", list(words.venues))):
        file = f"{FOLDER}/{part}.yaml"
        for term in terms:
            if term not in used[part]:
                line = line_of(lines.get(file, {}), term)
                yield Finding(file, line, term, "no record uses this term: use it, or remove it", "vocabulary")


def schema(library: Library) -> Iterator[Finding]:
    """papers/schema.json is missing, or out of date with the model or the vocabulary.

    --fix writes it anew, as `qkb validate --write-schema` does.
    """
    if any(fault.file.startswith(FOLDER) for fault in library.papers.faults):
        return  # a schema of half a vocabulary would be wrong
    words = library.papers.vocabulary
    fix = Fix("write it anew", FILE, lambda _: schema_text(words))
    for fault in check_schema(words, library.place.root):
        yield library.of_fault("schema", fault, fix)


def reference(library: Library) -> Iterator[Finding]:
    """site/pages/cli.md, the reference of the command line, is not what the code says.

    Only in a checkout whose code is the code that runs. --fix writes it anew, as `python -m qkb.reference` does.
    """
    root = library.place.root
    if library.place.bundled or not (root / "site" / "pages").is_dir() or not _runs_here(root):
        return
    from qkb.reference import page  # noqa: PLC0415 (it imports every command)

    new = page()
    target = root / REFERENCE
    if not target.is_file() or target.read_text(encoding="utf-8", errors="replace") != new:
        message = "is not what the commands' manuals and options say"
        yield Finding(REFERENCE, 1, "", message, "reference", Fix("write it anew", REFERENCE, lambda _: new))


def _runs_here(root: Path) -> bool:
    own = root / "qkb" / "__init__.py"
    return own.is_file() and own.samefile(Path(str(qkb.__file__)))


def orphaned(library: Library) -> Iterator[Finding]:
    """An implementation, test or accepted result that has lost its counterpart.

    Looks only where the library has implementations. Each message says what to write or to delete.
    """
    if library.methods is None:
        return
    tests = library.place.root / "tests" / "reference_impls"
    for fault in orphans(library.methods, library.papers.records, tests if tests.is_dir() else None):
        yield library.of_fault("orphans", fault)


def results(library: Library) -> Iterator[Finding]:
    """An accepted result that states other claims than the method's file.

    Compares ids, quantities, bounds, units and remarks without running anything; what cannot be read that way is passed
    over, and `qkb reproduce` compares it. Nothing is mended: `qkb reproduce ID --accept` measures anew.
    """
    for record in library.papers.records.values():
        if library.methods is None or record.implementation == WANTED:
            continue
        try:
            claims = stated(library.methods.source(record.implementation))
            result = library.methods.result(record.id)
        except (OSError, ValueError, SyntaxError):  # the check `orphans` tells of these
            continue
        if result is None or claims is None:
            continue
        file = f"reference_impls/results/{record.id}.json"
        accepted = {outcome.id: outcome for outcome in result.claims}
        yield from _differences(file, record, claims, accepted)


def _differences(
    file: str, record: Record, claims: dict[str, dict[str, str]], accepted: dict[str, Outcome]
) -> Iterator[Finding]:
    """Compare what a file states with what was accepted."""
    again = f"run qkb reproduce {record.id} --accept"
    for name in sorted(claims.keys() - accepted.keys()):
        yield Finding(file, 1, f"claims.{name}", f"was never measured: {again}", "results")
    for name in sorted(accepted.keys() - claims.keys()):
        yield Finding(file, 1, f"claims.{name}", f"the method's file states no such claim: {again}", "results")
    for name in sorted(claims.keys() & accepted.keys()):
        for key, value in claims[name].items():
            old = getattr(accepted[name], key)
            if old != value:
                message = f"the {key} was `{old}` and is `{value}` in the method's file: {again}"
                yield Finding(file, 1, f"claims.{name}.{key}", message, "results")
