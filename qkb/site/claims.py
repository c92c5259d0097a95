"""What the paper says beside what we measured: a record's claims joined with its accepted result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from qkb.site.facts import badge, plural
from qkb.site.markdown import inline, joined, table, text
from reference_impls.kit.figures import comparable, curve_svg, metrics_svg
from reference_impls.kit.report import measured
from reference_impls.kit.results import shown

if TYPE_CHECKING:
    from qkb.records.model import Record
    from reference_impls.kit.results import Outcome, Result


def claims_table(record: Record, result: Result | None) -> Markup:
    """Return the table of a record's claims; a claim that no implementation measures says so."""
    outcomes = {} if result is None else {outcome.id: outcome for outcome in result.claims}
    rows = []
    for claim in record.claims:
        outcome = outcomes.get(claim.id)
        verdict = badge("wanted", "not measured") if outcome is None else badge(outcome.verdict)
        rows.append([inline(claim.says), text(claim.where), _measured(outcome), verdict])
    return table(["The paper says", "Where", "We measured", "Verdict"], rows)


def _measured(outcome: Outcome | None) -> Markup:
    if outcome is None:
        return text("")
    numbers = text(measured(outcome))
    if not outcome.remark:
        return numbers
    return Markup('{}<br><span class="qkb-remark">{}</span>').format(numbers, inline(outcome.remark))


def figures(result: Result) -> Markup:
    """Return the dot plots of compared metrics and the curves of the quantizers, as one block of HTML."""
    drawn = [
        ("Every dot is a seed, the bar is the mean.", metrics_svg(result, keys, f"Metrics {', '.join(keys)} by seed"))
        for keys in comparable(result)
    ]
    drawn += [(f"{curve.name}, {plural(curve.bits, 'bit')}", curve_svg(curve)) for curve in result.quantizers]
    # One line per figure and no blank line: the Markdown converter takes the whole for one piece of HTML.
    lines = [
        Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(Markup(svg.replace("\n", " ")), caption)  # noqa: S704 (drawn by us from numbers; names are escaped there)
        for caption, svg in drawn
    ]
    if not lines:
        return Markup()
    return Markup('<div class="qkb-figures">\n{}\n</div>').format(joined(lines, "\n"))


def metrics_table(result: Result) -> Markup:
    """Return every metric with its mean and standard deviation over the seeds."""
    rows = [[key, shown(result.mean(key)), f"{result.spread(key):.3g}"] for key in result.metrics]
    return table(["Metric", "Mean", "Standard deviation"], rows)


def seeds_text(result: Result) -> str:
    """Say with which seeds a result was measured.

    >>> from reference_impls.kit.results import Result
    >>> seeds_text(Result("2.6", (0, 1, 2), {}, (), ())), seeds_text(Result("2.6", (3,), {}, (), ()))
    ('3 seeds (0 to 2)', '1 seed (3)')
    """
    numbers = list(result.seeds)
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        span = f"{numbers[0]} to {numbers[-1]}"
    else:
        span = ", ".join(map(str, numbers))
    return f"{plural(len(numbers), 'seed')} ({span})"
