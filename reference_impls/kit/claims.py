r"""What a method's claims measure. Verdicts are computed from these, never chosen.

A `Difference` compares two metrics over paired seeds: the same seed, data and budget for both sides. An `Exact`
compares a metric with a number or another metric on every seed. Both name a claim of the method's record by id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Difference:
    r"""The claim that the mean of `metric - baseline` over seeds lies beyond `margin`.

    With $d_i$ the difference on seed $i$ and the 95 % Student interval of its mean: *reproduced* when the whole
    interval lies strictly on the claimed side of the margin, *not reproduced* when it lies on the other side
    (touching included), *inconclusive* between.

    Attributes:
        id: id of the claim in the record.
        metric: key of `reproduce()`.
        baseline: key of `reproduce()`: the method's own ablation, or what the paper beats.
        margin: the least difference that the claim implies; negative for "no worse than by ...".
        direction: "above" claims `metric - baseline > margin`, "below" claims `< margin`.
        unit: of both metrics, for print ("points", "bits", "x", "").
        remark: a sentence for the reader, above all on why a claim does not reproduce at toy scale.
    """

    id: str
    metric: str
    baseline: str
    margin: float = 0.0
    direction: Literal["above", "below"] = "above"
    unit: str = "points"
    remark: str = ""

    @property
    def quantity(self) -> str:
        """What is measured, in words."""
        return f"{self.metric} - {self.baseline}"


@dataclass(frozen=True)
class Exact:
    """The claim that `metric` stands in `relation` to `expected` on every seed; the verdict has no middle.

    Attributes:
        id: id of the claim in the record.
        metric: key of `reproduce()`.
        relation: "==", "<=" or ">=".
        expected: a number from the paper, or a key of `reproduce()` (an independent oracle).
        tolerance: how far floating-point arithmetic may lead past the relation.
        unit: of the metric, for print.
        remark: a sentence for the reader.
    """

    id: str
    metric: str
    relation: Literal["==", "<=", ">="]
    expected: float | str
    tolerance: float = 0.0
    unit: str = ""
    remark: str = ""

    @property
    def quantity(self) -> str:
        """What is measured, in words."""
        return f"{self.metric} {self.relation} {self.expected}"


Claim = Difference | Exact
Verdict = Literal["reproduced", "not reproduced", "inconclusive"]
