"""Runs every rule over the records of a library; the rules stand in `rules_record` and `rules_library`.

A rule is a small generator whose docstring states it. A new rule is one more function in the tuple `RULES` of its
module; the tests show good and bad records for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkb.records import rules_library, rules_record
from qkb.records.faults import Fault
from qkb.records.rules_library import WANTED, Hints, Shelf
from qkb.records.vocabulary import FOLDER
from qkb.records.yaml_lines import line_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from qkb.records.drafts import Draft
    from qkb.records.vocabulary import LoadedVocabulary

__all__ = ["WANTED", "check", "implementations"]

# Folders of reference_impls that hold no methods.
NO_FAMILIES = frozenset(["kit", "fpga", "results"])


def check(drafts: Sequence[Draft], ids: frozenset[str], loaded: LoadedVocabulary, root: Path) -> list[Fault]:
    """Return what all rules find.

    Args:
        drafts: the records, sorted by file.
        ids: the names of all files of records, those that cannot be read too.
        loaded: the vocabulary.
        root: the folder that contains `papers`.
    """
    shelf = Shelf(drafts, ids, loaded, implementations(root))
    faults = [draft.fault(path, message) for draft in drafts for path, message in of_record(draft)]
    for rule in rules_library.RULES:
        faults += (draft.fault(path, message) for draft, path, message in rule(shelf) if draft.sound(path))
    faults += rows_name_records(shelf)
    return faults


def of_record(draft: Draft) -> Iterator[tuple[str, str]]:
    """Yield what the rules for a single record find."""
    for rule in rules_record.RULES:
        for path, message in rule(draft.record):
            if draft.sound(path):
                yield path, message


def rows_name_records(shelf: Shelf) -> Iterator[Fault]:
    """Every row of a reading list names a record."""
    hints = Hints(shelf.ids, "Write its record.")
    for name, reading_list in shelf.loaded.vocabulary.lists.items():
        file = f"{FOLDER}/lists/{name}.yaml"
        for number, section in enumerate(reading_list.sections):
            for index, row in enumerate(section.rows):
                if row.record not in shelf.ids:
                    path = f"sections[{number}].rows[{index}].record"
                    line = line_of(shelf.loaded.lines[file], path)
                    yield Fault(file, line, path, f"there is no record `{row.record}`. {hints.hint(row.record)}")


def implementations(root: Path) -> frozenset[str] | None:
    """Return family/module of each file that may be a method; None where there is no folder of them."""
    home = root / "reference_impls"
    if not home.is_dir():
        return None
    files = home.glob("*/*.py")
    return frozenset(
        f"{path.parent.name}/{path.stem}"
        for path in files
        if path.parent.name not in NO_FAMILIES and not path.name.startswith("_")
    )
