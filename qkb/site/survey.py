"""Everything the site is made from, read once: records, vocabulary, accepted results, sources of implementations."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from qkb.implementations import WANTED, Methods, constant_of
from qkb.records.faults import FaultsError
from qkb.records.load import load_all
from reference_impls.fpga.results import read, result_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from qkb.paths import Place
    from qkb.records.model import Record
    from qkb.records.vocabulary import Vocabulary
    from reference_impls.fpga.results import Hardware
    from reference_impls.kit.results import Result

NETWORKS = ("mlp", "cnn")  # in which hardware is measured
PICTURE, VERILOG, WAVEFORM = ".svg", ".v.gz", ".vcd.gz"  # what may stand beside a hardware result

_Key = TypeVar("_Key", int, str)


@dataclass(frozen=True)
class Source:
    """The file of an implementation: its path in the repository and its text."""

    path: str
    text: str

    @property
    def family(self) -> str:
        """The folder that the method stands in: `binary`, for instance."""
        return self.path.split("/")[1]

    @property
    def budget_bits(self) -> str | None:
        """Widths with which the method was trained under the shared budget, `w1a1` for instance; None if it was not."""
        return constant_of(self.text, "BUDGET_BITS")


@dataclass(frozen=True)
class Survey:
    """All records with what is known about each.

    Attributes:
        records: by id.
        vocabulary: tags, topics, venues and reading lists.
        results: accepted measurements by record id, where there are any.
        sources: source files by record id, where the implementation exists.
        hardware: accepted hardware results by record id, then by network.
        beside: files that stand beside those: by `<network>/<record id>`, then by the end of their name.
    """

    records: Mapping[str, Record]
    vocabulary: Vocabulary
    results: Mapping[str, Result]
    sources: Mapping[str, Source]
    hardware: Mapping[str, Mapping[str, Hardware]] = field(default_factory=dict)
    beside: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)

    @cached_property
    def newest_first(self) -> tuple[Record, ...]:
        """All records, newest year first, titles in order within a year."""
        return tuple(sorted(self.records.values(), key=lambda r: (-r.year, r.title.casefold())))

    @cached_property
    def years(self) -> Mapping[int, tuple[Record, ...]]:
        """Records by year, newest year first."""
        return _grouped(self.newest_first, lambda record: [record.year])

    @cached_property
    def topics(self) -> Mapping[str, tuple[Record, ...]]:
        """Records by topic, newest first within one."""
        return _grouped(self.newest_first, lambda record: record.topics)

    @cached_property
    def tags(self) -> Mapping[str, tuple[Record, ...]]:
        """Records by tag, newest first within one."""
        return _grouped(self.newest_first, lambda record: record.tags)

    @cached_property
    def venues(self) -> Mapping[str, tuple[Record, ...]]:
        """Records by venue, newest first within one."""
        return _grouped(self.newest_first, lambda record: [record.venue])

    @cached_property
    def built_upon_by(self) -> Mapping[str, tuple[Record, ...]]:
        """For a record's id, the records whose method extends or uses it, oldest first."""
        return _grouped(reversed(self.newest_first), lambda record: record.builds_on)

    @cached_property
    def implemented(self) -> tuple[Record, ...]:
        """The records whose implementation exists, newest first."""
        return tuple(record for record in self.newest_first if record.id in self.sources)


def _grouped(records: Iterable[Record], keys: Callable[[Record], Iterable[_Key]]) -> dict[_Key, tuple[Record, ...]]:
    groups: defaultdict[_Key, list[Record]] = defaultdict(list)
    for record in records:
        for key in keys(record):
            groups[key].append(record)
    return {key: tuple(members) for key, members in groups.items()}


def read_survey(place: Place) -> Survey:
    """Read the library and the accepted results that belong to its records.

    Raises:
        FaultsError: if a record or a vocabulary is at fault; carries every fault.
        ValueError: if a result file is not one.
        CannotRunError: if the implementations are nowhere to be found.
    """
    papers = load_all(place)
    if papers.faults:
        raise FaultsError(papers.faults)
    methods = Methods.of(place)
    measured = {key: result for key in papers.records if (result := methods.result(key)) is not None}
    hardware, beside = _hardware(methods, papers.records)
    sources = _sources(methods, papers.records.values())
    return Survey(papers.records, papers.vocabulary, measured, sources, hardware, beside)


def _sources(methods: Methods, records: Iterable[Record]) -> dict[str, Source]:
    """Return the file of every implementation that exists, by record id."""
    found = {}
    for record in records:
        path = methods.source(record.implementation)
        if record.implementation != WANTED and path.is_file():
            shown = f"reference_impls/{record.implementation}.py"
            found[record.id] = Source(shown, path.read_text(encoding="utf-8"))
    return found


def _hardware(
    methods: Methods, records: Iterable[str]
) -> tuple[dict[str, dict[str, Hardware]], dict[str, dict[str, bytes]]]:
    """Return the accepted hardware results, by record id and network, and the files beside them."""
    found: dict[str, dict[str, Hardware]] = {}
    beside: dict[str, dict[str, bytes]] = {}
    for key in records:
        for network in NETWORKS:
            path = result_path(methods.home, network, key)
            if not path.is_file():
                continue
            result = read(path)
            if result.network != network:
                raise ValueError(f"{path.name}: the network is {result.network!r}, but it stands in {network}/")
            if not result.exact:
                raise ValueError(f"{network}/{path.name}: torch, model and hardware differ; accept an exact result")
            found.setdefault(key, {})[network] = result
            ends = (PICTURE, VERILOG, WAVEFORM)
            files = {end: path.with_name(key + end) for end in ends}
            beside[f"{network}/{key}"] = {end: file.read_bytes() for end, file in files.items() if file.is_file()}
    return found, beside
