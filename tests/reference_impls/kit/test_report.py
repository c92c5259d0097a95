from __future__ import annotations

import io

from reference_impls.kit.report import ProgressLine, measured, report, table
from reference_impls.kit.results import Outcome, Result

DIFFERENCE = Outcome("scale", "inconclusive", "a - b", "> 0", 0.5, -0.25, 1.25, "points", "Batch norm undoes it.")
EXACT = Outcome("count", "reproduced", "n == 7", "== 7", 7.0, 7.0, 7.0, "", "")


def test_measured_says_interval_unit_and_bound() -> None:
    assert measured(DIFFERENCE) == "a - b = 0.5 points, 95 % interval -0.25 to 1.25 (claim: > 0)"
    assert measured(EXACT) == "n == 7: 7 on every seed (claim: == 7)"
    ranged = Outcome("e", "reproduced", "x <= 9", "<= 9", 8.0, 2.0, 8.0, "bits", "")
    assert measured(ranged) == "x <= 9: 8 bits, 2 to 8 over seeds (claim: <= 9)"


def test_table_wraps_its_widest_cells() -> None:
    text = table([["a long sentence that has to wrap", "x"]], ["says", "v"], width=30)
    assert text.splitlines() == [
        "says                         v",
        "--------------------------   -",
        "a long sentence that has     x",
        "to wrap",
    ]


def test_report_shows_claims_remarks_figure_and_metrics() -> None:
    result = Result("2.13.0", (0, 1), {"a": (1.0, 2.0), "b": (0.5, 1.5), "n": (7.0, 7.0)}, (DIFFERENCE, EXACT), ())
    text = report(result, {"scale": "scales help"}, width=100)
    for part in ("scales help", "count", "inconclusive", "scale: Batch norm undoes it.", "[", "metric (2 seeds)", "7"):
        assert part in text
    single = report(Result("2.13.0", (3,), {"a": (1.0,)}, (), ()), {}, width=80)
    assert "metric (1 seed)" in single


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_redraws_on_a_terminal_and_is_silent_elsewhere() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        line = ProgressLine("twn", stream)
        line(1, 2)
        line(2, 2)
    assert pipe.getvalue() == ""
    assert "twn  [############............] seed 1/2" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")
