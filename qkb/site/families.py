"""Family pages: methods of a kind compared in one network, trained with one budget."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from qkb.site import facts
from qkb.site.markdown import table, text
from reference_impls.kit.figures import dots_svg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qkb.records.model import Record
    from qkb.site.page import Page
    from qkb.site.survey import Survey
    from reference_impls.kit.results import Result

METRIC = "cnn_accuracy"
BASELINE = "cnn_full_precision"
FULL_PRECISION = "full precision"
ONE_BIT = re.compile(r"w1a")
WIDTHS = re.compile(r"[wa](fp|[\d.]+)")


@dataclass(frozen=True)
class Member:
    """A method's accuracy under the shared budget.

    Attributes:
        record: its record.
        bits: widths of the quantized layers, such as `w1a1`; `fp` stands for full precision.
        result: its accepted result.
    """

    record: Record
    bits: str
    result: Result

    @property
    def mean(self) -> float:
        """Mean accuracy over seeds, in percent."""
        return self.result.mean(METRIC)

    @property
    def place(self) -> tuple[tuple[float, ...], float]:
        """Where it stands among others: fewer bits of weights, then of activations first, then the best."""
        return tuple(32.0 if width == "fp" else float(width) for width in WIDTHS.findall(self.bits)), -self.mean


@dataclass(frozen=True)
class Family:
    """The methods of one kind.

    Attributes:
        key: name of the folder.
        members: what was trained under the shared budget: by bits, then the best first.
        others: records of the folder's methods that do not fit into the shared network.
        baseline: accuracy of the same network in full precision, seed by seed; empty if no method measured it.
    """

    key: str
    members: tuple[Member, ...]
    others: tuple[Record, ...]
    baseline: tuple[float, ...]

    @property
    def title(self) -> str:
        """The page's title."""
        return f"{self.key.replace('_', ' ').capitalize()} methods under one budget"

    def table(self, page: Page) -> Markup:
        """Return the comparison as a table."""
        rows: list[list[object]] = [
            [
                page.paper(member.record.id),
                member.record.year,
                text(member.bits),
                f"{member.mean:.1f}",
                f"{member.result.spread(METRIC):.1f}",
                len(member.result.seeds),
                facts.verdict_badges(member.result),
            ]
            for member in self.members
        ]
        heads = ["Paper", "Year", "Bits", "Accuracy, %", "Standard deviation", "Seeds", "Claims"]
        return table(heads, rows)

    def figure(self) -> Markup:
        """Return the dot plot of every seed of every method, as one line of HTML."""
        rows: dict[str, Sequence[float]] = {FULL_PRECISION: self.baseline} if self.baseline else {}
        rows |= {f"{m.record.id}, {m.bits}": m.result.metrics[METRIC] for m in self.members}
        svg = dots_svg(rows, f"{self.title}: test accuracy in percent, seed by seed").replace("\n", " ")
        caption = "Test accuracy in percent. Every dot is a seed, the bar is the mean."
        drawn = Markup(svg)  # noqa: S704 (drawn by us from numbers; labels are escaped there)
        return Markup('<div class="qkb-figures"><figure>{}<figcaption>{}</figcaption></figure></div>').format(
            drawn, caption
        )


def families(survey: Survey) -> Mapping[str, Family]:
    """Return every family in which at least two methods were trained under the shared budget, by name.

    A method belongs to the family of its folder; one whose weights have a single bit belongs to the binary ones too.
    """
    by_key: dict[str, list[Member]] = {}
    others: dict[str, list[Record]] = {}
    for record in survey.implemented:
        source, result = survey.sources[record.id], survey.results.get(record.id)
        bits = source.budget_bits
        if bits is None or result is None or METRIC not in result.metrics:
            others.setdefault(source.family, []).append(record)
            continue
        keys = {source.family, "binary"} if ONE_BIT.match(bits) else {source.family}
        for key in keys:
            by_key.setdefault(key, []).append(Member(record, bits, result))
    measured = [result.metrics[BASELINE] for result in survey.results.values() if BASELINE in result.metrics]
    baseline = measured[0] if measured else ()
    return {
        key: Family(key, tuple(sorted(members, key=lambda m: m.place)), tuple(others.get(key, ())), tuple(baseline))
        for key, members in sorted(by_key.items())
        if len(members) > 1
    }
