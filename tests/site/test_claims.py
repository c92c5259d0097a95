from __future__ import annotations

from typing import TYPE_CHECKING

from qkb.site.claims import claims_table, figures, metrics_table
from reference_impls.kit.results import Curve, Outcome, Result

if TYPE_CHECKING:
    from qkb.site.survey import Survey


def test_a_claim_stands_beside_what_was_measured(survey: Survey) -> None:
    shown = claims_table(survey.records["tiny-sign"], survey.results["tiny-sign"])
    assert shown.splitlines() == [
        "| The paper says | Where | We measured | Verdict |",
        "| --- | --- | --- | --- |",
        (
            "| a weight takes one bit | Sec. 2 | ours - theirs = 2 points, 95 % interval -0.5 to 4.5 (claim: &gt; 5)"
            '<br><span class="qkb-remark">Toys are <code>small</code>.</span> '
            '| <span class="qkb-verdict qkb-not-reproduced">not reproduced</span> |'
        ),
    ]


def test_a_claim_without_a_measurement_says_so(survey: Survey) -> None:
    for result in (None, Result("2", (0,), {}, (), ())):
        row = claims_table(survey.records["tiny-sign"], result).splitlines()[-1]
        assert row.endswith('| Sec. 2 |  | <span class="qkb-verdict qkb-wanted">not measured</span> |')


def test_claims_and_remarks_cannot_break_out(survey: Survey) -> None:
    record = survey.records["tiny-sign"]
    (claim,) = record.claims
    hostile = claim.model_copy(update={"says": "a | b <script>", "where": "| c"})
    outcome = Outcome("one-bit", "inconclusive", "x | y", "> 0", 1.0, 0.0, 2.0, "<i>", "[r](javascript:x) |")
    result = Result("2", (0, 1), {}, (outcome,), ())
    row = claims_table(record.model_copy(update={"claims": (hostile,)}), result).splitlines()[-1]
    assert row.count("|") == 5
    assert "<script>" not in row
    assert "<i>" not in row
    assert r"\[r\](javascript:x)" in row


def test_figures_are_one_block_of_html(survey: Survey) -> None:
    shown = figures(survey.results["tiny-sign"])
    assert shown.startswith('<div class="qkb-figures">\n<figure><svg ')
    assert shown.endswith("</figure>\n</div>")
    assert "\n\n" not in shown
    assert shown.count("<figure>") == shown.count("<svg ") == 2
    assert "<figcaption>weights, 1 bit</figcaption>" in shown


def test_names_in_figures_are_escaped() -> None:
    curve = Curve("</svg><script>x</script>", 2, (0.0, 1.0), (0.0, 1.0), (1.0, 1.0))
    shown = figures(Result("2", (0,), {}, (), (curve,)))
    assert "<script>" not in shown


def test_no_figures_is_nothing() -> None:
    assert figures(Result("2", (0,), {"a": (1.0,)}, (), ())) == ""


def test_metrics(survey: Survey) -> None:
    assert metrics_table(survey.results["tiny-sign"]).splitlines()[2:] == [
        "| ours | 92 | 1 |",
        "| theirs | 90 | 0 |",
        "| levels | 2 | 0 |",
    ]
